/** Hidden: a replica of an instance's OS state in a host process of its own, started by the agent. */
import { runDirArgs } from "../args.ts";
import { command } from "../command.ts";

export default command({
  args: runDirArgs("Directory with boot.json, where its sockets and log go"),
  service: true,
  examples: [["dvs state --run-dir /var/lib/dvs/run/s/web-1f0c", "what an agent starts"]],
  async run({ args, io }) {
    const { runState } = await import("../../core/state/main.ts");
    return runState({ runDir: args["run-dir"], signal: io.signal });
  },
});
