import { DvsError } from "../../../core/errors.ts";
import { outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { readFile } from "../../config-flags.ts";
import { writeJson } from "../../output.ts";
import { loadRegistry } from "../../plugins.ts";

export default command({
  args: {
    file: { type: "positional", required: true, description: "YAML or JSON; - reads standard input" },
    kind: {
      type: "enum",
      options: ["instance", "agent", "coordinator"],
      description: "Which configuration it is (default: what its `kind` says, else instance)",
    },
    ...outputArgs,
  },
  details:
    "Every mistake is told at once, with its line. The environment is left out: it is the file that is checked.",
  examples: [["dvs config check web.yaml", "exit code 0 or 2"]],
  async run({ args, io, words }) {
    const [{ readConfig }, { kindNames, kindOf }, file, registry] = await Promise.all([
      import("../../../configs/kind.ts"),
      import("../../../configs/kinds.ts"),
      readFile(io, args.file),
      loadRegistry(),
    ]);
    const said = (file?.value as { kind?: unknown } | null | undefined)?.kind;
    const kind =
      args.kind ?? kindNames.find((name) => name === said) ?? (said === undefined ? "instance" : undefined);
    if (kind === undefined) {
      throw new DvsError(
        "INVALID",
        `${args.file}: kind is ${JSON.stringify(said)}: accepted: ${kindNames.join(", ")}`,
      );
    }
    const config = await readConfig(kindOf(kind, registry), { file });
    if (args.output === "json") writeJson(io, config);
    words.success(`${args.file} is a good ${kind} configuration`);
  },
});
