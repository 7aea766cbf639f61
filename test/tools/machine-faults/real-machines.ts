/**
 * Three machines as people set them up, each in a network namespace of its own: a coordinator (with a part of the store
 * by --ha on all of them, or one with SQLite on the first), an agent, and an instance of `hello` with a replica of its
 * state on each. Their host processes end with this program, as all of its namespaces do.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { localProcesses } from "../../../core/agent/local-processes.ts";
import { type Api, createApi } from "../../../core/api/client.ts";
import type { InstanceView } from "../../../core/api/views.ts";
import { readIdentity, haDirOf, readMember, clientUrl } from "../../../core/coordinator/ha/ha-files.ts";
import { systemClock } from "../../../core/store/clock.ts";
import { Gateway } from "../../../core/store/etcd/gateway.ts";
import { tlsTransport } from "../../../core/store/etcd/transport.ts";
import type { Machines } from "../state-faults/machines.ts";

const dvs = [process.execPath, "--no-install", join(import.meta.dirname, "../../../cli/main.ts")] as const;
const port = 7400;
export const instanceName = "counter";
export const publishedPort = 8080;
const untilMs = 60_000;

export type StoreKind = "sqlite" | "etcd";
export type Role = "agent" | "ingress" | "container" | "state" | "coordinator" | "etcd";

/** Something of the cluster that was not well yet so long after it was asked first. */
export interface Waited {
  what: string;
  ms: number;
}
interface Trouble {
  what: string;
  told: unknown;
}

export class RealMachines {
  readonly dir = "/dev/shm/dvs-machines";
  readonly store: StoreKind;
  readonly #machines: Machines;
  readonly #coordinators: (ChildProcess | undefined)[] = [];
  #api: Api | undefined;
  #uid = "";

  static async open(machines: Machines, store: StoreKind): Promise<RealMachines> {
    const all = new RealMachines(machines, store);
    await all.#boot().catch((e: unknown) => {
      const told = all.logs().map(({ name, text }) => `${name}: ${text.trimEnd().split("\n").at(-1)}`);
      throw new Error([String(e), ...told].join("\n"));
    });
    return all;
  }

  private constructor(machines: Machines, store: StoreKind) {
    this.#machines = machines;
    this.store = store;
  }

  get indices(): number[] {
    return [...this.#machines.names.keys()];
  }
  /** As an operator has it whom no cut concerns. */
  get api(): Api {
    return this.#api!;
  }
  get uid(): string {
    return this.#uid;
  }
  nameOf(at: number): string {
    return this.#machines.names[at]!;
  }
  wrap(at: number): string[] {
    return this.#machines.wrap(this.nameOf(at));
  }
  dataDir(at: number): string {
    return join(this.dir, this.nameOf(at), "node");
  }
  logs(): { name: string; text: string }[] {
    const names = this.indices.flatMap((at) => [
      `${this.nameOf(at)}/coordinator.log`,
      `${this.nameOf(at)}/node.log`,
    ]);
    const states = this.indices.map((at) => `${this.nameOf(at)}/node/run/s/${this.#uid}/state.log`);
    return [...names, ...states].flatMap((name) => {
      const file = join(this.dir, name);
      return existsSync(file) ? [{ name, text: readFileSync(file, "utf8") }] : [];
    });
  }

  view(): Promise<InstanceView> {
    return this.api.instances.get(instanceName);
  }
  /** Where the primary of the instance's state is. */
  async primary(): Promise<number> {
    return this.#at((await this.view()).state?.primary?.nodeName ?? "");
  }
  /** Where the coordinator that acts is. */
  async acting(): Promise<number> {
    const acting = (await this.api.coordinators.list()).find((c) => c.acting);
    return this.indices.findIndex((at) => acting?.address === this.#apiAddress(at));
  }
  /** Where the leader of the store's members is; only with etcd. */
  async etcdLeader(): Promise<number> {
    const dir = haDirOf(this.#coordinatorDir(0));
    const { ca, identity } = await readIdentity(dir);
    const timeouts = { attemptMs: 5_000, deadlineMs: 5_000 };
    for (const at of this.indices) {
      const member = await readMember(haDirOf(this.#coordinatorDir(at)));
      const transport = tlsTransport({ ca, identity: () => identity });
      const gateway = new Gateway([clientUrl(member!)], timeouts, systemClock, { transport });
      try {
        const status = (await gateway.call("maintenance/status", {}, "repeat")) as {
          leader: string;
          header: { member_id: string };
        };
        if (status.leader === status.header.member_id) return at;
      } catch (e) {
        if (at === this.indices.at(-1)) throw e;
      } finally {
        gateway.close();
      }
    }
    throw new Error("no member of the store leads");
  }

  /** Ids of the living host processes of a machine, of these roles. */
  async pids(at: number, roles: readonly Role[]): Promise<number[]> {
    const pids: number[] = [];
    if (roles.includes("coordinator")) {
      const child = this.#coordinators[at];
      if (child && child.exitCode === null && child.signalCode === null) pids.push(child.pid!);
    }
    const etcd = join(haDirOf(this.#coordinatorDir(at)).root, "process.json");
    if (roles.includes("etcd") && existsSync(etcd))
      pids.push((JSON.parse(readFileSync(etcd, "utf8")) as { pid: number }).pid);
    const processes = await localProcesses(this.dataDir(at));
    return [...pids, ...processes.filter(({ kind }) => roles.includes(kind)).map(({ pid }) => pid)];
  }

  /** Starts on a machine what an init system would: what has ended of coordinator and agent. */
  async startAgain(at: number): Promise<void> {
    if (this.#hasCoordinator(at) && (await this.pids(at, ["coordinator"])).length === 0)
      this.#startCoordinator(at, {});
    if ((await this.pids(at, ["agent"])).length === 0)
      this.#spawn(at, "node", ["node", "start", "--data-dir", this.dataDir(at)]);
  }

  cut(from: number, to: number): void {
    this.#machines.cut(from, to);
  }
  mend(): void {
    this.#machines.mend();
  }

  /** `dvs status` as somebody on that machine runs it. */
  async status(at: number, timeoutMs: number): Promise<{ code: number; text: string }> {
    const [command, ...args] = [...this.wrap(at), ...dvs, "status"];
    const env = { ...this.#clientEnvironment(), NO_COLOR: "1" };
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    let text = "";
    child.stdout.on("data", (bytes: Buffer) => (text += bytes.toString()));
    child.stderr.on("data", (bytes: Buffer) => (text += bytes.toString()));
    const code = await new Promise<number>((resolve) => child.on("close", (c) => resolve(c ?? -1)));
    clearTimeout(timer);
    return { code, text };
  }

  /** Everything runs, on all machines, and every replica is in sync and serves. Tells what it has waited for, and until when. */
  async allWell(): Promise<Waited[]> {
    const waited = new Map<string, number>();
    let trouble: Trouble[] = [];
    const beganMs = performance.now();
    await this.#until("everything is well again", async () => {
      trouble = await this.#troubles();
      for (const { what, told } of trouble) {
        const words = typeof told === "string" ? `${what}: ${told}` : what;
        waited.set(words, performance.now() - beganMs);
      }
      return trouble.length === 0;
    }).catch((e: unknown) => {
      throw new Error(`${String(e)}: ${JSON.stringify(trouble, null, 1)}`);
    });
    return [...waited].map(([what, ms]) => ({ what, ms })).sort((a, b) => b.ms - a.ms);
  }

  async #troubles(): Promise<Trouble[]> {
    const [{ phase, conditions, state }, nodes, coordinators] = await Promise.all([
      this.view(),
      this.api.nodes.list(),
      this.api.coordinators.list(),
    ]);
    const replicas = state?.replicas ?? [];
    const wanted = this.store === "etcd" ? this.indices.length : 1;
    const found: [string, boolean, unknown][] = [
      ["a primary", replicas.some((r) => r.role === "primary" && r.serving), state],
      ["replicas in sync", state?.inSync === this.indices.length && replicas.every((r) => r.inSync), state],
      ["replicas that serve", replicas.every((r) => r.wanted && r.serving && r.state === "ready"), replicas],
      ["nodes", nodes.every((node) => node.state === "up"), nodes],
      ["coordinators", coordinators.filter((c) => c.state === "up").length === wanted, coordinators],
      ["phase", phase === "running", phase],
      ["conditions", conditions.length === 0, conditions.map(({ message }) => message).join("; ")],
    ];
    return found.filter(([, isWell]) => !isWell).map(([what, , told]) => ({ what, told }));
  }

  async #boot(): Promise<void> {
    for (const at of this.indices)
      mkdirSync(join(this.dir, this.nameOf(at)), { recursive: true, mode: 0o700 });
    this.#startCoordinator(0, {});
    await this.#answers();
    if (this.store === "etcd") {
      const { token } = await this.api.tokens.create({ kind: "coordinator" });
      for (const at of this.indices.slice(1)) this.#startCoordinator(at, { DVS_COORDINATOR_JOIN: token });
      await this.#until("all coordinators are up", async () => {
        const all = await this.api.coordinators.list();
        return all.length === this.indices.length && all.every((c) => c.state === "up");
      });
    }
    const { token } = await this.api.tokens.create({ kind: "join" });
    for (const at of this.indices) {
      const args = ["--name", this.nameOf(at), "--address", this.#machines.host(this.nameOf(at))];
      this.#spawn(at, "node", ["node", "join", ...args, "--data-dir", this.dataDir(at)], {
        DVS_AGENT_JOIN_TOKEN: token,
      });
    }
    await this.#until("all nodes are up", async () => {
      const nodes = await this.api.nodes.list();
      return nodes.length === this.indices.length && nodes.every((n) => n.state === "up");
    });
    const made = await this.api.instances.create({
      name: instanceName,
      spec: { os: "hello", nodes: this.indices.length, publish: [{ port: publishedPort }] },
    });
    this.#uid = made.uid;
    await this.allWell();
  }

  async #answers(): Promise<void> {
    const file = join(this.#coordinatorDir(0), "admin-token");
    await this.#until("the coordinator answers", async () => {
      if (!existsSync(file)) return false;
      const addresses = this.indices
        .filter((at) => this.#hasCoordinator(at))
        .map((at) => this.#apiAddress(at));
      this.#api ??= createApi({ addresses, token: this.#adminToken(), timeoutMs: 5_000 });
      await this.#api.status();
      return true;
    });
  }

  #startCoordinator(at: number, env: Record<string, string>): void {
    const args = [
      "--data-dir",
      this.#coordinatorDir(at),
      "--listen",
      this.#apiAddress(at),
      "--no-join-token",
    ];
    const context = ["--context", join(this.dir, this.nameOf(at), "context.json")];
    const ha = this.store === "etcd" ? ["--ha"] : [];
    this.#coordinators[at] = this.#spawn(
      at,
      "coordinator",
      ["coordinator", "start", ...args, ...context, ...ha],
      env,
    );
  }

  #spawn(at: number, name: string, args: string[], env: Record<string, string> = {}): ChildProcess {
    const log = openSync(join(this.dir, this.nameOf(at), `${name}.log`), "a");
    const [command, ...all] = [...this.wrap(at), ...dvs, ...args];
    const child = spawn(command!, all, {
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, DVS_HOME: join(this.dir, this.nameOf(at)), ...env },
    });
    closeSync(log);
    return child;
  }

  #clientEnvironment(): Record<string, string> {
    const addresses = this.indices.filter((at) => this.#hasCoordinator(at)).map((at) => this.#apiAddress(at));
    return { DVS_ADDR: addresses.join(), DVS_TOKEN: this.#adminToken(), DVS_HOME: join(this.dir, "client") };
  }

  #hasCoordinator(at: number): boolean {
    return this.store === "etcd" || at === 0;
  }
  #coordinatorDir(at: number): string {
    return join(this.dir, this.nameOf(at), "coordinator");
  }
  #apiAddress(at: number): string {
    return `${this.#machines.host(this.nameOf(at))}:${port}`;
  }
  #adminToken(): string {
    const text = readFileSync(join(this.#coordinatorDir(0), "admin-token"), "utf8");
    return (JSON.parse(text) as { token: string }).token;
  }
  #at(nodeName: string): number {
    return this.#machines.names.indexOf(nodeName);
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + untilMs;
    let last: unknown = "it stayed false";
    while (performance.now() < endMs) {
      try {
        if (await condition()) return;
        last = "it stayed false";
      } catch (e) {
        last = e;
      }
      await sleep(50);
    }
    throw new Error(`waited ${untilMs} ms until ${what}: ${String(last)}`);
  }
}
