import { runtimeName } from "../../core/platform/runtime.ts";
import { version } from "../../core/version.ts";
import { outputArgs } from "../args.ts";
import { command } from "../command.ts";
import { writeJson } from "../output.ts";

export default command({
  args: outputArgs,
  examples: [["dvs version -o json", "version and runtime for a program"]],
  async run({ args, io }) {
    if (args.output === "json") writeJson(io, { version, runtime: runtimeName });
    else io.stdout.write(`dvs ${version} (${runtimeName})\n`);
  },
});
