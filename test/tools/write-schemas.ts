/**
 * Writes configs/schema/*.json, which editors and other programs read: `bun test/tools/write-schemas.ts`, then
 * `bun fmt --no-script configs/schema/*.json`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { configJsonSchema } from "../../configs/json-schema.ts";
import { kindNames } from "../../configs/kinds.ts";
import { registry } from "../../plugins/registry.ts";

const dir = new URL("../../configs/schema/", import.meta.url);
mkdirSync(dir, { recursive: true });
for (const kind of kindNames) {
  const schema = await configJsonSchema(kind, registry);
  writeFileSync(new URL(`${kind}.json`, dir), `${JSON.stringify(schema, null, 2)}\n`);
}
