/**
 * Starts what is missing of a development cluster and waits until it is ready: the coordinator first, since it gives
 * the address, then all nodes at once. Each host process is written down before anything else is done with it.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { minimalEnvironment, spawnHostProcess } from "../core/agent/host-process.ts";
import { createApi, type Api } from "../core/api/client.ts";
import type { NodeView } from "../core/api/views.ts";
import { DvsError } from "../core/errors.ts";
import { selfCommand } from "../core/platform/runtime.ts";
import { type ClusterContext, readContext } from "./context.ts";
import {
  coordinatorRole,
  type DevCluster,
  isAlive,
  isEnding,
  nodeAddress,
  nodeName,
  paths,
  readDevCluster,
  type StartedProcess,
  writeDevCluster,
} from "./dev-cluster.ts";
import type { Progress } from "./progress.ts";

export interface DevStart {
  dir: string;
  /** At least as many as there are already. */
  nodes: number;
  timeoutMs: number;
  progress: Progress;
  signal: AbortSignal;
}

export interface DevStarted {
  context: ClusterContext;
  /** Roles of the host processes that this call started. */
  started: string[];
}

const pollMs = 20;
const logTailLines = 5;

/** Throws FAILED with the end of its log when a host process ends, TIMEOUT when not all is ready in time. */
export async function startDevCluster(options: DevStart): Promise<DevStarted> {
  const { dir, nodes } = options;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const cluster = readDevCluster(dir) ?? { version: 1, nodes: 0, processes: [] };
  const start = new Start(options, { ...cluster, nodes });
  const context = await start.coordinator();
  const api = createApi({
    addresses: context.addresses,
    token: context.token,
    ...(context.ca === undefined ? {} : { ca: context.ca }),
  });
  try {
    await start.nodes(api);
  } finally {
    api.close();
  }
  return { context, started: start.started.toSorted((a, b) => order(a) - order(b)) };
}

/** The coordinator first, then the nodes by number: they are started at once, in no order. */
function order(role: string): number {
  return role === coordinatorRole ? 0 : Number(role.slice(role.lastIndexOf("-") + 1));
}

class Start {
  readonly started: string[] = [];
  readonly #options: DevStart;
  readonly #cluster: DevCluster;
  readonly #deadline: number;
  #written = Promise.resolve();

  constructor(options: DevStart, cluster: DevCluster) {
    this.#options = options;
    this.#cluster = cluster;
    this.#deadline = performance.now() + options.timeoutMs;
  }

  async coordinator(): Promise<ClusterContext> {
    const { dir, progress } = this.#options;
    const file = paths.context(dir);
    await this.#settled();
    if (!this.#alive(coordinatorRole)) {
      progress.show("starting the coordinator");
      // It is written when the coordinator answers: an old one would say so too early.
      rmSync(file, { force: true });
      await this.#spawn(coordinatorRole, coordinatorRole, [
        "coordinator",
        "start",
        `--data-dir=${paths.coordinator(dir)}`,
        "--listen=127.0.0.1:0",
        `--context=${file}`,
        "--no-join-token",
        "--output=json",
      ]);
    }
    await this.#until("the coordinator does not answer", () => existsSync(file));
    const context = readContext(file);
    if (!context) throw new DvsError("INTERNAL", `${file} has gone`);
    return context;
  }

  async nodes(api: Api): Promise<void> {
    const { dir, nodes, progress } = this.#options;
    const missing = Array.from({ length: nodes }, (_, i) => i + 1).filter((k) => !this.#alive(nodeName(k)));
    const strangers = missing.filter((k) => !existsSync(join(paths.node(dir, k), "identity.json")));
    const token =
      strangers.length === 0
        ? undefined
        : (
            await api.tokens.create({
              kind: "join",
              description: "dvs up",
              ttlSeconds: 3_600,
              uses: strangers.length,
            })
          ).token;
    const startedAt = performance.now();
    await Promise.all(missing.map((k) => this.#startNode(k, strangers.includes(k) ? token : undefined)));
    const wanted = new Set(Array.from({ length: nodes }, (_, i) => nodeName(i + 1)));
    const fresh = new Set(missing.map(nodeName));
    let up = 0;
    await this.#until(
      () => `${up} of ${nodes} nodes are up`,
      async () => {
        // The coordinator counts a killed agent as up for a while: its successor must have been heard.
        const sinceMs = performance.now() - startedAt;
        const heard = (n: NodeView): boolean =>
          !fresh.has(n.name) || (n.lastSeenMs !== null && n.lastSeenMs <= sinceMs);
        const views = await api.nodes.list();
        up = views.filter((n) => wanted.has(n.name) && n.state === "up" && heard(n)).length;
        if (missing.length > 0) progress.show(`starting nodes: ${up} of ${nodes} are up`);
        return up === nodes;
      },
    );
  }

  /** With a token it joins; without, it has joined before. The token goes by environment: arguments are public. */
  async #startNode(k: number, token: string | undefined): Promise<void> {
    const data = ["--data-dir", paths.node(this.#options.dir, k)];
    const args =
      token === undefined
        ? ["node", "start", ...data]
        : ["node", "join", ...data, "--name", nodeName(k), "--address", nodeAddress(k)];
    await this.#spawn(nodeName(k), `n${k}`, args, token === undefined ? {} : { DVS_AGENT_JOIN_TOKEN: token });
  }

  async #spawn(role: string, log: string, args: string[], env: Record<string, string> = {}): Promise<void> {
    const { dir } = this.#options;
    const self = selfCommand(args);
    const { pid, startTime } = await spawnHostProcess({
      ...self,
      cwd: dir,
      logFile: paths.log(dir, log),
      env: { ...minimalEnvironment(), NO_COLOR: "1", ...env },
    });
    const others = this.#cluster.processes.filter((p) => p.role !== role);
    this.#cluster.processes = [...others, { role, pid, startTime }];
    // Nodes start side by side: one write after the other, each of all that is known then.
    this.#written = this.#written.then(() => writeDevCluster(dir, this.#cluster));
    await this.#written;
    this.started.push(role);
  }

  #alive(role: string): boolean {
    const process = this.#cluster.processes.find((p) => p.role === role);
    return process !== undefined && isAlive(process);
  }

  /** Waits for those that were killed: they count for nothing any more, and their successors need their locks. */
  async #settled(): Promise<void> {
    while (this.#cluster.processes.some(isEnding)) {
      if (performance.now() > this.#deadline) {
        throw new DvsError("TIMEOUT", `Host processes of ${this.#options.dir} were killed and do not end.`);
      }
      await delay(pollMs, undefined, { signal: this.#options.signal });
    }
  }

  async #until(what: string | (() => string), done: () => boolean | Promise<boolean>): Promise<void> {
    for (;;) {
      if (await done()) return;
      const ended = this.#cluster.processes.find((p) => !isAlive(p));
      if (ended) throw this.#failed(ended);
      if (performance.now() > this.#deadline) {
        const state = typeof what === "string" ? what : what();
        throw new DvsError(
          "TIMEOUT",
          `The cluster in ${this.#options.dir} is not ready: ${state}. It goes on; its logs are there too.`,
        );
      }
      await delay(pollMs, undefined, { signal: this.#options.signal });
    }
  }

  #failed({ role }: StartedProcess): DvsError {
    const log = paths.log(this.#options.dir, role.replace(/^node-/, "n"));
    let tail = "";
    try {
      tail = readFileSync(log, "utf8").trimEnd().split("\n").slice(-logTailLines).join("\n  ");
    } catch {
      // It ended before it could say anything.
    }
    return new DvsError(
      "FAILED",
      `The host process of ${role} has ended${tail ? `:\n  ${tail}` : ""}\nIts log: ${log}`,
    );
  }
}
