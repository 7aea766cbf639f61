import { command } from "../../command.ts";
import { flagsLayer, readFile } from "../../config-flags.ts";
import { serviceLog } from "../../service-log.ts";

export default command({
  args: {
    "data-dir": {
      type: "string",
      value: "DIR",
      description: "Data directory of the node (default /var/lib/dvs/node for root, else ~/.dvs/node)",
    },
    file: { type: "string", short: "f", value: "FILE", description: "Configuration file; flags beat it" },
    "stop-containers": { type: "boolean", description: "End ingress and containers with the agent, too" },
  },
  details:
    "Runs in the foreground until SIGTERM or Ctrl-C. Containers that run already are taken over, not started again;\n" +
    "without a coordinator the node runs what it ran last.",
  service: true,
  examples: [["dvs node start", "after the machine has booted"]],
  async run({ args, io }) {
    const [{ readAgentConfig }, { runAgent }] = await Promise.all([
      import("../../agent-config.ts"),
      import("../../../core/agent/agent.ts"),
    ]);
    const config = await readAgentConfig(
      io,
      await readFile(io, args.file),
      flagsLayer({ dataDir: ["--data-dir", args["data-dir"]] }),
    );
    return runAgent({
      dataDir: config.dataDir,
      signal: io.signal,
      stopContainers: args["stop-containers"],
      log: serviceLog(io),
    });
  },
});
