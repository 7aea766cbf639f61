import { command } from "../../command.ts";
import { writeJson } from "../../output.ts";
import { loadRegistry } from "../../plugins.ts";

export default command({
  args: {
    kind: {
      type: "enum",
      options: ["instance", "agent", "coordinator"],
      default: "instance",
      description: "Which configuration",
    },
  },
  examples: [
    ["dvs config schema > instance.schema.json", "for an editor that checks while you type"],
    ["dvs config schema --kind agent", "of `dvs node join --file`"],
  ],
  async run({ args, io }) {
    const { configJsonSchema } = await import("../../../configs/json-schema.ts");
    writeJson(io, await configJsonSchema(args.kind, await loadRegistry()));
  },
});
