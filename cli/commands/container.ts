/** Hidden: one container of an instance in a host process of its own, started by the agent. */
import { runDirArgs } from "../args.ts";
import { command } from "../command.ts";

export default command({
  args: runDirArgs("Directory with boot.json, where its sockets and logs go"),
  service: true,
  examples: [["dvs container --run-dir /var/lib/dvs/run/c/web-1f0c", "what an agent starts"]],
  async run({ args, io }) {
    const [{ runContainer }, { registry }] = await Promise.all([
      import("../../core/container/main.ts"),
      import("../../plugins/registry.ts"),
    ]);
    return runContainer({ runDir: args["run-dir"], registry, signal: io.signal });
  },
});
