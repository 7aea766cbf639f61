import { outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { writeJson } from "../../output.ts";
import { type Column, writeTable } from "../../table.ts";
import { loadPlugins } from "../../plugins.ts";
import type { VosPlugin } from "../../../core/vos.ts";

const columns: Column<VosPlugin>[] = [
  { title: "NAME", value: (p) => p.name },
  { title: "IMAGE", value: (p) => p.image },
  { title: "SUMMARY", value: (p) => p.summary, flexible: true },
];

export default command({
  args: outputArgs,
  examples: [
    ["dvs plugin ls", "what --os accepts"],
    [
      "dvs plugin ls -o json | jq '.[] | select(.name == \"web\").options'",
      "options of a VOS as JSON Schema",
    ],
  ],
  async run({ args, io }) {
    const plugins = await loadPlugins();
    if (args.output === "table") return writeTable(io, columns, plugins);
    const { jsonSchemaOf } = await import("../../../configs/json-schema.ts");
    writeJson(
      io,
      plugins.map((p) => ({
        name: p.name,
        summary: p.summary,
        image: p.image,
        options: jsonSchemaOf(p.options),
      })),
    );
  },
});
