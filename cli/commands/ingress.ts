/** Hidden: the published ports of a node in a host process of its own, started by the agent. */
import { runDirArgs } from "../args.ts";
import { command } from "../command.ts";

export default command({
  args: runDirArgs("The node's run directory, where ingress.sock goes"),
  service: true,
  examples: [["dvs ingress --run-dir /var/lib/dvs/run", "what an agent starts"]],
  async run({ args, io }) {
    const { runIngress } = await import("../../core/ingress/main.ts");
    return runIngress({ runDir: args["run-dir"], signal: io.signal });
  },
});
