import { existsSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { outputArgs } from "../args.ts";
import { command } from "../command.ts";
import { confirm } from "../confirm.ts";
import { contextFile, homeDir, readContext } from "../context.ts";
import { lockDevCluster, paths, readDevCluster } from "../dev-cluster.ts";
import { writeJson } from "../output.ts";
import { Progress } from "../progress.ts";

export default command({
  args: {
    dir: {
      type: "string",
      value: "DIR",
      description: "Where its data is (default $DVS_HOME/dev, else ~/.dvs/dev)",
    },
    "keep-data": { type: "boolean", description: "Keep its data: the next dvs up brings everything back" },
    yes: {
      type: "boolean",
      short: "y",
      description: "Do not ask; nobody is asked where there is no terminal",
    },
    context: {
      type: "string",
      value: "FILE",
      env: "DVS_CONTEXT",
      description: "Context file to remove with it, if it is this cluster's",
    },
    ...outputArgs,
  },
  details:
    "Ends its coordinator, agents, ingresses and containers, each by its pid and start time, and says what it ended.\n" +
    "Its data is removed, unless --keep-data.",
  examples: [
    ["dvs down", "end and remove the development cluster"],
    ["dvs down --keep-data", "end it; dvs up continues where it was"],
  ],
  async run({ args, io, words }) {
    const dir = resolve(io.cwd, args.dir ?? `${homeDir(io)}/dev`);
    const cluster = existsSync(dir) ? readDevCluster(dir) : undefined;
    if (!cluster) {
      if (args.output === "json") writeJson(io, { dir, ended: [], removed: false });
      words.info(`nothing is up in ${dir}`);
      return;
    }
    if (!args["keep-data"]) await confirm(io, args.yes, `End the cluster in ${dir} and remove its data?`);
    const { stopDevCluster } = await import("../dev-stop.ts");
    const unlock = lockDevCluster(dir);
    try {
      const ended = await stopDevCluster(dir, cluster, new Progress(io, words));
      if (!args["keep-data"]) {
        const file = contextFile(io, args.context);
        const own = readContext(paths.context(dir));
        if (own && readContext(file)?.clusterId === own.clusterId) rmSync(file, { force: true });
        rmSync(dir, { recursive: true, force: true });
      }
      if (args.output === "json") writeJson(io, { dir, ended, removed: !args["keep-data"] });
      for (const { role, kind, pid } of ended)
        words.info(`ended ${role === kind ? kind : `${kind} of ${role}`} (pid ${pid})`);
      words.success(
        `${ended.length} host processes ended; ${args["keep-data"] ? `the data stays in ${dir}` : "the data is removed"}`,
      );
    } finally {
      unlock();
    }
  },
});
