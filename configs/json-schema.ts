/** Configuration schemas as JSON Schema, for editors and for programs that write such files. */
import { z } from "zod";
import type { VosRegistry } from "../core/vos.ts";
import { optionsOf } from "./instance.ts";
import { kindOf, type KindName } from "./kinds.ts";

type Schema = Record<string, unknown>;

/** What may be written in a file, hence the input side: defaults are optional. */
export function jsonSchemaOf(schema: z.ZodType): Schema {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Schema;
}

export async function configJsonSchema(kind: KindName, registry: VosRegistry): Promise<Schema> {
  const base = jsonSchemaOf(kindOf(kind, registry).schema);
  const schema: Schema = { ...base, title: `dvs ${kind} configuration` };
  if (kind === "instance") schema["allOf"] = await optionsByOs(registry, schema);
  return schema;
}

/** `os` decides which options there are. */
async function optionsByOs(registry: VosRegistry, schema: Schema): Promise<Schema[]> {
  const names = registry.names().toSorted();
  (schema["properties"] as Schema)["os"] = {
    ...((schema["properties"] as Schema)["os"] as Schema),
    enum: names,
  };
  return Promise.all(
    names.map(async (name) => {
      const plugin = await registry.load(name);
      if (!plugin) throw new TypeError(`the registry names a VOS "${name}" that it does not have`);
      const { $schema: _, ...options } = jsonSchemaOf(optionsOf(plugin));
      return {
        if: { properties: { os: { const: name } }, required: ["os"] },
        // oxlint-disable-next-line unicorn/no-thenable -- the keyword of JSON Schema
        then: { properties: { options } },
      };
    }),
  );
}
