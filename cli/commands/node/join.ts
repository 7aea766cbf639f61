import { existsSync } from "node:fs";
import { join } from "node:path";
import { DvsError } from "../../../core/errors.ts";
import { command } from "../../command.ts";
import { flagsLayer, readFile } from "../../config-flags.ts";
import { parseLabels } from "../../key-values.ts";
import { serviceLog } from "../../service-log.ts";

export default command({
  args: {
    "join-token": {
      type: "positional",
      description:
        "Join token (`dvs token create --join`). DVS_AGENT_JOIN_TOKEN keeps it out of the process list",
    },
    token: { type: "string", value: "TOKEN", description: "The same" },
    "data-dir": {
      type: "string",
      value: "DIR",
      description:
        "Directory of its identity, images and containers (default /var/lib/dvs/node for root, else ~/.dvs/node)",
    },
    name: { type: "string", value: "NAME", description: "Name of the node (default the host name)" },
    address: {
      type: "string",
      value: "HOST",
      description: "Where other nodes reach it (default the address from which it reaches the coordinator)",
    },
    label: { type: "list", value: "KEY=VALUE", description: "A label that instances choose nodes by" },
    "containers-max": {
      type: "number",
      min: 0,
      max: 10_000,
      description: "How many containers fit (0, the default: no limit)",
    },
    file: { type: "string", short: "f", value: "FILE", description: "Configuration file; flags beat it" },
    enroll: { type: "boolean", description: "Join only; `dvs node start` runs the agent" },
  },
  details:
    "Runs in the foreground until SIGTERM or Ctrl-C; containers run on and are found again by the next `dvs node start`.\n" +
    "A machine that has joined this cluster before is not joined again, and does not use up the token; one that has joined\n" +
    "another cluster is refused.",
  service: true,
  examples: [
    ["dvs node join --token dvsj1.…", "what `dvs coordinator start` prints"],
    [
      "DVS_AGENT_JOIN_TOKEN=dvsj1.… dvs node join --label disk=ssd --containers-max 20",
      "with a label, at most 20 containers",
    ],
  ],
  async run({ args, io, words }) {
    const [{ addressTowards, readAgentConfig }, { enrollNode }, { runAgent }, { parseJoinToken }] =
      await Promise.all([
        import("../../agent-config.ts"),
        import("../../../core/agent/enroll.ts"),
        import("../../../core/agent/agent.ts"),
        import("../../../core/trust/tokens.ts"),
      ]);
    const config = await readAgentConfig(
      io,
      await readFile(io, args.file),
      flagsLayer({
        joinToken: ["--token", args["join-token"] ?? args.token],
        dataDir: ["--data-dir", args["data-dir"]],
        name: ["--name", args.name],
        address: ["--address", args.address],
        labels: ["--label", args.label.length > 0 ? parseLabels("--label", args.label) : undefined],
        containersMax: ["--containers-max", args["containers-max"]],
      }),
    );
    const { dataDir, joinToken, name } = config;
    const known = existsSync(join(dataDir, "identity.json"));
    if (joinToken !== undefined) {
      const { addresses } = parseJoinToken(joinToken);
      // One that has joined reaches nobody, so that it starts without a coordinator too.
      const address = config.address ?? (known ? "" : await addressTowards(addresses));
      if (address === undefined) {
        throw new DvsError(
          "UNAVAILABLE",
          `Cannot join: no coordinator answers on ${addresses.join(", ")}. Is it running, and the port open?`,
        );
      }
      const { resumed } = await enrollNode({
        dataDir,
        token: joinToken,
        name: name!,
        address,
        labels: config.labels,
        containersMax: config.containersMax,
      });
      if (!resumed) words.success(`node ${name} joined; other nodes reach it at ${address}`);
    } else if (!known) {
      throw new DvsError(
        "INVALID",
        `missing --token: "dvs token create --join" makes one; give it here or as DVS_AGENT_JOIN_TOKEN`,
      );
    }
    if (known) words.info(`${dataDir} has joined before${args.enroll ? "" : ": starting its agent"}`);
    if (args.enroll) return 0;
    return runAgent({ dataDir, signal: io.signal, log: serviceLog(io) });
  },
});
