import { resolve } from "node:path";
import { DvsError } from "../../core/errors.ts";
import { outputArgs } from "../args.ts";
import { command } from "../command.ts";
import { contextFile, homeDir, writeContext } from "../context.ts";
import { lockDevCluster, nodesMax, readDevCluster } from "../dev-cluster.ts";
import { formatDuration } from "../duration.ts";
import { writeJson } from "../output.ts";
import { Progress } from "../progress.ts";

export default command({
  args: {
    nodes: {
      type: "number",
      min: 1,
      max: nodesMax,
      description: "How many nodes (default 3, or as many as there are)",
    },
    dir: {
      type: "string",
      value: "DIR",
      description: "Where its data goes (default $DVS_HOME/dev, else ~/.dvs/dev)",
    },
    timeout: { type: "duration", default: "1m", description: "Wait at most this long for it to be ready" },
    context: {
      type: "string",
      value: "FILE",
      env: "DVS_CONTEXT",
      description:
        "Where its address and token are written ($DVS_HOME/context.json, else ~/.dvs/context.json)",
    },
    ...outputArgs,
  },
  details:
    "A coordinator and N agents, each a host process of its own that goes on when this command ends; no root needed.\n" +
    "Node k has the address 127.0.0.k. Run again, it starts what is missing and says so.",
  examples: [
    ["dvs up", "three nodes"],
    ["dvs up --nodes 5", "five; with a cluster of three there, two more"],
  ],
  async run({ args, io, words }) {
    const began = performance.now();
    const dir = resolve(io.cwd, args.dir ?? `${homeDir(io)}/dev`);
    const { startDevCluster } = await import("../dev-start.ts");
    const unlock = lockDevCluster(dir);
    const progress = new Progress(io, words);
    try {
      const before = readDevCluster(dir);
      const nodes = args.nodes ?? before?.nodes ?? 3;
      if (before && nodes < before.nodes) {
        throw new DvsError(
          "CONFLICT",
          `The cluster in ${dir} has ${before.nodes} nodes. "dvs node leave" takes one away, "dvs down" ends all.`,
        );
      }
      const { context, started } = await startDevCluster({
        dir,
        nodes,
        timeoutMs: args.timeout,
        progress,
        signal: io.signal,
      });
      await writeContext(contextFile(io, args.context), context);
      progress.end();
      const took = formatDuration(performance.now() - began);
      if (args.output === "json") {
        writeJson(io, { dir, nodes, started, addresses: context.addresses, clusterId: context.clusterId });
      }
      if (started.length === 0)
        words.info(`already up: ${nodes} nodes, coordinator at ${context.addresses.join(", ")}`);
      else if (before) words.success(`started ${started.join(", ")} in ${took}; ${nodes} nodes are up`);
      else words.success(`${nodes} nodes are up in ${took}`);
      words.info(
        `next: dvs instance create web --os web --nodes ${Math.min(3, nodes)} --site ./public --publish 8080`,
      );
      words.info("then: dvs status, dvs events, dvs down");
    } finally {
      progress.end();
      unlock();
    }
  },
});
