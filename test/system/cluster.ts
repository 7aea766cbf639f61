/**
 * A cluster of real host processes on this machine, for tests, benchmarks and the demo: a coordinator and some
 * nodes, each node on a loopback address of its own, that can be killed, stopped and started again like machines.
 * Two clusters never share an address, so that test files may run beside each other.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  closeSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { localProcesses, type LocalProcess } from "../../core/agent/local-processes.ts";
import { createApi, type Api } from "../../core/api/client.ts";
import type { InstanceView } from "../../core/api/views.ts";
import { processStartTime } from "../../core/platform/uptime.ts";
import { voidGuard } from "../../core/state/guard.ts";

export interface ClusterOptions {
  nodes: number;
  /** How to run dvs, default from source with this runtime's Bun. */
  command?: string[];
  /** More arguments of `coordinator start`. */
  coordinatorArgs?: string[];
  coordinatorEnv?: Record<string, string>;
  /** The coordinator's data directory is a file system of this size. Needs root. */
  coordinatorDiskMebibytes?: number;
  /** For each `node join`. */
  joinEnv?: Record<string, string>;
}

const sourceCommand = [
  process.execPath,
  "--no-install",
  new URL("../../cli/main.ts", import.meta.url).pathname,
];

class HopelessError extends Error {}

interface Started {
  startTime: string | null;
  /** Exit code, or 128 + the signal's number. */
  ended: Promise<number>;
}

export class TestCluster {
  readonly dir = mkdtempSync(join(tmpdir(), "dvs-cluster-"));
  /** `127.a.b`: nodes are .1, .2, …, the coordinator is .200. */
  readonly subnet = `127.${20 + Math.floor(Math.random() * 200)}.${Math.floor(Math.random() * 250)}`;
  readonly command: string[];
  readonly nodes: TestNode[] = [];
  readonly #options: ClusterOptions;
  /** Every host process started from here, by pid: killed at the end, whatever became of the test. */
  readonly #started = new Map<number, Started>();
  readonly #mounts: string[] = [];
  #coordinatorPid = 0;
  #api: Api | undefined;

  private constructor(options: ClusterOptions) {
    this.#options = options;
    this.command = options.command ?? sourceCommand;
  }

  static async start(options: ClusterOptions): Promise<TestCluster> {
    const cluster = new TestCluster(options);
    try {
      if (options.coordinatorDiskMebibytes !== undefined)
        cluster.mountSmallDisk(cluster.coordinatorDir, options.coordinatorDiskMebibytes);
      await cluster.startCoordinator();
      const { token } = await cluster.api.tokens.create({ kind: "join" });
      for (let k = 1; k <= options.nodes; k++) cluster.newNode().join(token, [], options.joinEnv);
      await cluster.allUp();
      return cluster;
    } catch (e) {
      await cluster.stop();
      throw e;
    }
  }

  /** A machine that is in no cluster yet. */
  newNode(name = `n${this.nodes.length + 1}`): TestNode {
    const node = new TestNode(this, name, `${this.subnet}.${this.nodes.length + 1}`);
    this.nodes.push(node);
    return node;
  }

  node(name: string): TestNode {
    const node = this.nodes.find((n) => n.name === name);
    if (!node) throw new Error(`there is no node ${name}`);
    return node;
  }

  async allUp(): Promise<void> {
    await this.until("all nodes are up", async () => {
      const nodes = await this.api.nodes.list();
      return nodes.length === this.nodes.length && nodes.every((n) => n.state === "up");
    });
  }

  get api(): Api {
    if (!this.#api) throw new Error("the coordinator has not been started");
    return this.#api;
  }
  get coordinatorDir(): string {
    return join(this.dir, "coordinator");
  }
  get coordinatorAddress(): string {
    const { apiPort } = JSON.parse(readFileSync(join(this.coordinatorDir, "coordinator.json"), "utf8")) as {
      apiPort: number;
    };
    return `${this.subnet}.200:${apiPort}`;
  }
  get adminToken(): string {
    const text = readFileSync(join(this.coordinatorDir, "admin-token"), "utf8");
    return (JSON.parse(text) as { token: string }).token;
  }
  /** For a CLI that talks to this cluster. */
  get environment(): Record<string, string> {
    return { DVS_ADDR: this.coordinatorAddress, DVS_TOKEN: this.adminToken, DVS_HOME: this.dir };
  }

  /** Starts it, the first time or after `killCoordinator`, and waits until it answers. */
  async startCoordinator(): Promise<void> {
    const args = [
      "coordinator",
      "start",
      "--data-dir",
      this.coordinatorDir,
      "--listen",
      `${this.subnet}.200:0`,
    ];
    this.#coordinatorPid = this.spawn(
      "coordinator",
      [...args, ...(this.#options.coordinatorArgs ?? [])],
      this.#options.coordinatorEnv,
    );
    await this.coordinatorAnswers();
  }

  async coordinatorAnswers(): Promise<void> {
    await this.until("the coordinator answers", async () => {
      if (processStartTime(this.#coordinatorPid) === null) return this.#fail("the coordinator has ended");
      if (!existsSync(join(this.coordinatorDir, "admin-token"))) return false;
      this.#api?.close();
      this.#api = createApi({
        addresses: [this.coordinatorAddress],
        token: this.adminToken,
        timeoutMs: 10_000,
      });
      await this.#api.status();
      return true;
    });
  }

  killCoordinator(signal: NodeJS.Signals = "SIGKILL"): void {
    // kill(0) would hit this process's own group.
    if (this.#coordinatorPid === 0) throw new Error("the coordinator has not been started");
    process.kill(this.#coordinatorPid, signal);
  }
  async coordinatorGone(): Promise<void> {
    await this.until("the coordinator is gone", () => processStartTime(this.#coordinatorPid) === null);
  }

  /** Waits until the instance has the phase; throws at once where it was removed by the system. */
  async phase(name: string, phase: InstanceView["phase"], timeoutMs = 20_000): Promise<InstanceView> {
    let view: InstanceView | undefined;
    await this.until(
      `${name} is ${phase}`,
      async () => (view = await this.api.instances.get(name)).phase === phase,
      timeoutMs,
    ).catch((e: unknown) => {
      throw new Error(`${String(e)}; it is ${JSON.stringify(view, null, 1)}`);
    });
    return view!;
  }

  /** Runs dvs to its end. */
  async dvs(args: string[], env: Record<string, string> = {}) {
    const child = spawn(this.command[0]!, [...this.command.slice(1), ...args], {
      env: { ...process.env, NO_COLOR: "1", ...this.environment, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#note(child);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (d: Uint8Array) => (stdout += new TextDecoder().decode(d)));
    child.stderr.on("data", (d: Uint8Array) => (stderr += new TextDecoder().decode(d)));
    const code = await new Promise<number>((resolve) => child.on("close", (c) => resolve(c ?? -1)));
    return { code, stdout, stderr };
  }

  /** Starts dvs as a host process of its own, its output in a file. Returns the pid. */
  spawn(name: string, args: string[], env: Record<string, string> = {}): number {
    const log = openSync(join(this.dir, `${name}.log`), "a");
    const child = spawn(this.command[0]!, [...this.command.slice(1), ...args], {
      detached: true,
      env: { ...process.env, DVS_HOME: this.dir, ...env },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    child.unref();
    this.#note(child);
    return child.pid!;
  }

  /** Exit code of what `spawn` started; 128 + the signal's number where one ended it. */
  ended(pid: number): Promise<number> {
    return this.#started.get(pid)!.ended;
  }

  /** Ends a wait that cannot succeed. */
  #fail(what: string): never {
    throw new HopelessError(`${what}: ${this.log("coordinator").slice(-2_000)}`);
  }

  #note(child: ChildProcess): void {
    const ended = new Promise<number>((resolve) => {
      child.once("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
    });
    this.#started.set(child.pid!, { startTime: processStartTime(child.pid!), ended });
  }

  log(name: string): string {
    return readFileSync(join(this.dir, `${name}.log`), "utf8");
  }

  /** A file system of so many MiB on a directory of this cluster. Needs root. */
  mountSmallDisk(dir: string, mebibytes: number): void {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const { status } = spawnSync("mount", [
      "-t",
      "tmpfs",
      "-o",
      `size=${mebibytes}m,mode=700`,
      "dvs-test",
      dir,
    ]);
    if (status !== 0) throw new Error(`cannot mount a file system on ${dir}`);
    this.#mounts.push(dir);
  }

  async until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    let last: unknown = "it stayed false";
    while (performance.now() < endMs) {
      try {
        if (await condition()) return;
        last = "it stayed false";
      } catch (e) {
        if (e instanceof HopelessError) throw e;
        last = e;
      }
      await new Promise((r) => setTimeout(r, 20));
    }
    throw new Error(
      `waited ${timeoutMs} ms until ${what}: ${last instanceof Error ? last.message : String(last)}`,
    );
  }

  async stop(): Promise<void> {
    this.#api?.close();
    for (const [pid, { startTime, ended }] of this.#started) {
      if (startTime === null || processStartTime(pid) !== startTime) continue;
      process.kill(pid, "SIGKILL");
      await ended;
    }
    for (const node of this.nodes) {
      await node.kill();
      node.voidGuards();
    }
    for (const dir of this.#mounts) spawnSync("umount", ["-l", dir]);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export class TestNode {
  readonly cluster: TestCluster;
  readonly name: string;
  readonly address: string;
  /** Id in the cluster, known after the join. */
  get id(): string {
    return (JSON.parse(readFileSync(join(this.dataDir, "identity.json"), "utf8")) as { nodeId: string })
      .nodeId;
  }

  constructor(cluster: TestCluster, name: string, address: string) {
    this.cluster = cluster;
    this.name = name;
    this.address = address;
  }

  get dataDir(): string {
    return join(this.cluster.dir, this.name);
  }

  join(token: string, more: string[] = [], env: Record<string, string> = {}): number {
    const args = [
      "--token",
      token,
      "--name",
      this.name,
      "--address",
      this.address,
      "--data-dir",
      this.dataDir,
    ];
    return this.cluster.spawn(this.name, ["node", "join", ...args, ...more], env);
  }

  /** Starts the agent again, as an init system does after boot. */
  start(env: Record<string, string> = {}): number {
    return this.cluster.spawn(this.name, ["node", "start", "--data-dir", this.dataDir], env);
  }

  /** Its living host processes; the agent first. */
  processes(): Promise<LocalProcess[]> {
    return localProcesses(this.dataDir);
  }

  /** The pid of its living agent, of its ingress, or of an instance's container. */
  async pid(kind: LocalProcess["kind"], uid?: string): Promise<number> {
    const found = (await this.processes()).find(
      (p) => p.kind === kind && (uid === undefined || p.uid === uid),
    );
    if (!found) throw new Error(`${this.name} has no ${kind}${uid ? ` of ${uid}` : ""}`);
    return found.pid;
  }

  /** Sends a signal to every host process of this node, as one blow. Returns how long that took, in milliseconds. */
  async signal(signal: NodeJS.Signals): Promise<number> {
    const processes = await this.processes();
    const startMs = performance.now();
    for (const { pid } of processes) {
      try {
        process.kill(pid, signal);
      } catch {
        // it ended by itself in between
      }
    }
    return performance.now() - startMs;
  }

  /** Kills the machine: every process of it, until none is left. */
  async kill(): Promise<void> {
    for (let round = 0; round < 50; round++) {
      if ((await this.processes()).length === 0) return;
      await this.signal("SIGKILL");
      await new Promise((r) => setTimeout(r, 20));
    }
    throw new Error(`processes of ${this.name} do not die`);
  }

  /** What killed state processes have left in memory, outside of the data directory; an agent that lives does it itself. */
  voidGuards(): void {
    const runDirs = join(this.dataDir, "run/s");
    if (existsSync(runDirs)) for (const uid of readdirSync(runDirs)) voidGuard(join(runDirs, uid));
  }
}
