import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { readConfigDocument } from "../../configs/document.ts";
import { configJsonSchema } from "../../configs/json-schema.ts";
import { readConfig } from "../../configs/kind.ts";
import { kindNames, kindOf } from "../../configs/kinds.ts";
import { registry } from "../../plugins/registry.ts";

const examples = new URL("../../configs/examples/", import.meta.url).pathname;
const schemas = new URL("../../configs/schema/", import.meta.url).pathname;

describe("examples", () => {
  for (const file of readdirSync(examples)) {
    test(`${file} is a good configuration of the kind that it names`, async () => {
      const document = readConfigDocument(`${examples}${file}`);
      const kind = kindNames.find((name) => name === (document.value as { kind?: string }).kind);
      expect(kind).toBeDefined();
      await readConfig(kindOf(kind!, registry), { file: document });
    });
  }

  test("each kind has an example with a comment on every field", () => {
    for (const [kind, file] of [
      ["instance", "web.yaml"],
      ["agent", "agent.yaml"],
      ["coordinator", "coordinator.yaml"],
    ] as const) {
      const text = readFileSync(`${examples}${file}`, "utf8");
      // `image` excludes `site`, and a join token does not belong into a file.
      const fields = Object.keys(kindOf(kind, registry).schema.shape).filter(
        (f) => f !== "image" && f !== "joinToken",
      );
      for (const field of fields) expect(text).toMatch(new RegExp(`^(# )?${field}:`, "m"));
      expect(text).toMatch(/^# /);
    }
  });
});

describe("published schemas", () => {
  test("are those of this version: bun test/tools/write-schemas.ts", async () => {
    expect(readdirSync(schemas).toSorted()).toEqual(kindNames.map((k) => `${k}.json`).toSorted());
    for (const kind of kindNames) {
      const published: unknown = JSON.parse(readFileSync(`${schemas}${kind}.json`, "utf8"));
      expect(published).toEqual(JSON.parse(JSON.stringify(await configJsonSchema(kind, registry))));
    }
  });

  test("every field is described", async () => {
    for (const kind of kindNames) {
      const { properties } = (await configJsonSchema(kind, registry)) as {
        properties: Record<string, { description?: string }>;
      };
      for (const [field, { description }] of Object.entries(properties)) {
        expect({ field, described: (description ?? "").length > 10 }).toEqual({ field, described: true });
      }
    }
  });

  test("know the options of each VOS", async () => {
    const { allOf } = (await configJsonSchema("instance", registry)) as {
      allOf: { if: { properties: { os: { const: string } } } }[];
    };
    expect(allOf.map((branch) => branch.if.properties.os.const)).toEqual(registry.names().toSorted());
  });
});
