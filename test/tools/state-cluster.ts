/**
 * Replicas of an instance's OS state as benchmarks and tests of faults run them: real state processes (`dvs state`), one for each "node" of
 * this machine, with mutual TLS between them, and in the place of agents and coordinator a store in memory that carries
 * out configuration changes, tells everybody, and certifies the end of a process that it has reaped. Any node may be
 * away from it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Change, ExitCertificate, Replica, Versioned } from "../../core/replica/configuration.ts";
import { LocalFiles } from "../../core/files/client/local-files.ts";
import { VolumeClient } from "../../core/files/client/volume-client.ts";
import { localModule } from "../../core/files/client/local-module.ts";
import { KeyValue } from "../../core/state/client/key-value.ts";
import { LocalReader } from "../../core/state/client/local-reader.ts";
import { StateClient } from "../../core/state/client/state-client.ts";
import { stateSockets, type StateBoot } from "../../core/state/boot.ts";
import { FromState, type ToState } from "../../core/state/control.ts";
import { stateEnvironment } from "../../core/state/environment.ts";
import { voidGuard } from "../../core/state/guard.ts";
import { linkTls } from "../../core/state/link/link-identity.ts";
import { kv } from "../../core/state/modules/kv.ts";
import { addressesOf, type ReplicaSet } from "../../core/state/replica-set.ts";
import type { ReplicaStatus } from "../../core/state/replica-status.ts";
import { createAuthority, issueCertificate } from "../../core/trust/authority.ts";
import { createKeyAndCsr } from "../../core/trust/key.ts";
import { containerUri } from "../../core/trust/identity.ts";

export const uid = "u-bench";
const clusterId = "bench";
/** What an agent waits for an answer of a coordinator's; the product's is `stateRequestTimeoutMs`. */
const awayMs = 300;
const restartMs = 100;
/** Certificates that are kept; only the last of each node can matter. */
const exitsKept = 16;
const dvs = [process.execPath, "--no-install", join(import.meta.dirname, "../../cli/main.ts")] as const;

export interface StateClusterOptions {
  replicas: number;
  durability?: "fsync" | "replicated";
  /** L, in milliseconds. */
  aliveMs?: number;
  /** Put before the command of each replica: `strace -c …`. It has to give way to it (exec). */
  wrap?: (node: string) => string[];
  /** Where that node listens for others; default 127.0.0.1. */
  host?: (node: string) => string;
  /** Told an empty directory before a replica's data comes to lie below it. */
  prepareDisk?: (dir: string) => void;
  /** Undoes it, when all replicas have ended. */
  releaseDisk?: (dir: string) => void;
  /** A replica that ended by itself is started again; else it stays away. */
  supervised?: boolean;
  /** A change that is proposed while its node is away from the store: is it carried out, with its answer lost? */
  carriedOutAway?: () => boolean;
}

export interface Outsider extends Pick<StateBoot, "secret" | "tls"> {
  node: string;
  replicas: ReturnType<typeof addressesOf>;
  /** Of its node's replica. */
  runDir: string;
}

interface Node {
  id: string;
  boot: StateBoot;
  child: ChildProcess | null;
  /** As the state process says it; 0 before. */
  pid: number;
  socket: Socket | null;
  replica: Replica;
  status: ReplicaStatus | null;
  /** Its process is ended from here. */
  killed: boolean;
  ended: Promise<void>;
}

export class StateCluster {
  readonly dir = mkdtempSync(join(tmpdir(), "dvs-bench-"));
  readonly nodes: Node[] = [];
  readonly #options: StateClusterOptions;
  readonly #clients: { client: StateClient; reader: LocalReader | null }[] = [];
  #exits: ExitCertificate[] = [];
  /** Certificates of nodes that are away. */
  #heldExits: ExitCertificate[] = [];
  readonly #away = new Set<string>();
  #revision = 0;
  #versioned: Versioned = { generation: 1, version: 0, configuration: null };
  #closing = false;

  static async open(options: StateClusterOptions): Promise<StateCluster> {
    const cluster = new StateCluster(options);
    try {
      await cluster.#boot();
    } catch (e) {
      await cluster.close();
      throw e;
    }
    return cluster;
  }

  private constructor(options: StateClusterOptions) {
    this.#options = options;
  }

  /** Of the node that is primary now. */
  get primary(): number {
    const disk = this.#versioned.configuration?.primary.disk;
    return this.nodes.findIndex(({ replica }) => replica.disk === disk);
  }
  get inSync(): number {
    return this.#versioned.configuration?.inSync.length ?? 0;
  }
  /** One that is not. */
  get backup(): number {
    return (this.primary + 1) % this.nodes.length;
  }

  /** As a container on that node; `local`: reads its replica's database. */
  client(at: number, { local = false } = {}): KeyValue {
    return new KeyValue(this.#client(at, `client-${randomBytes(6).toString("hex")}`, local));
  }

  /** As a container on that node. */
  files(at: number): VolumeClient {
    const client = `client-${randomBytes(6).toString("hex")}`;
    const reader = new LocalReader(dirname(this.nodes[at]!.replica.unix), [localModule]);
    const near = new LocalFiles(reader);
    const state = this.#client(at, client, false);
    this.#clients.at(-1)!.reader = reader;
    this.#clients.at(-1)!.client.setReader(reader);
    return VolumeClient.open({ state, client, near: () => near });
  }

  /** What a host process needs to be a client on that node, for as long as the replicas stay where they are. */
  outsider(at: number): Outsider {
    const { boot, replica } = this.nodes[at]!;
    return {
      node: boot.node.id,
      secret: boot.secret,
      tls: boot.tls,
      replicas: addressesOf(this.#set()),
      runDir: dirname(replica.unix),
    };
  }

  #client(at: number, name: string, local: boolean): StateClient {
    const { boot } = this.nodes[at]!;
    const client = new StateClient({
      identity: {
        instance: uid,
        node: boot.node.id,
        incarnation: name,
        disk: "",
        secret: new Uint8Array(Buffer.from(boot.secret, "hex")),
        tls: linkTls(() => boot.tls),
      },
    });
    const reader = local ? new LocalReader(dirname(this.nodes[at]!.replica.unix), [kv]) : null;
    client.setReader(reader);
    client.setReplicas(addressesOf(this.#set()));
    this.#clients.push({ client, reader });
    return client;
  }

  /** Incarnations that have ended without having been killed from here. */
  endedByThemselves = 0;

  /** No word between these nodes and the store, until others are named. */
  setAway(nodes: readonly number[]): void {
    this.#away.clear();
    for (const at of nodes) this.#away.add(this.nodes[at]!.id);
    const back = this.#heldExits.filter(({ node }) => !this.#away.has(node));
    this.#heldExits = this.#heldExits.filter((exit) => !back.includes(exit));
    for (const exit of back) this.#certify(exit);
    this.#tellAll();
  }

  runDir(at: number): string {
    return this.nodes[at]!.boot.runDir;
  }
  dataDir(at: number): string {
    return this.nodes[at]!.boot.dataDir;
  }
  /** Of its state process; 0 where that has not said so yet. */
  pid(at: number): number {
    return this.nodes[at]!.pid;
  }
  /** The disk that its data lies on. */
  diskDir(at: number): string {
    return dirname(this.nodes[at]!.boot.dataDir);
  }

  /** SIGKILL, reaped, and certified as an agent does it. */
  async kill(at: number): Promise<void> {
    this.nodes[at]!.killed = true;
    this.nodes[at]!.child!.kill("SIGKILL");
    await this.nodes[at]!.ended;
  }
  /** In order, as an agent that ends a replica for good. Its directory stays. */
  async stop(at: number): Promise<void> {
    const node = this.nodes[at]!;
    node.killed = true;
    process.kill(node.pid, "SIGTERM");
    await node.ended;
  }
  pause(at: number): void {
    this.nodes[at]!.child!.kill("SIGSTOP");
  }
  resume(at: number): void {
    this.nodes[at]!.child!.kill("SIGCONT");
  }
  /** Another incarnation on the same disk. */
  restart(at: number): void {
    this.#start(this.nodes[at]!);
  }

  async allInSync(): Promise<void> {
    for (let i = 0; i < 1_500; i++) {
      const serving = this.nodes.every(({ status }) => status?.serving);
      if (serving && this.inSync === this.nodes.length) return;
      await sleep(20);
    }
    const is = this.nodes.map(({ id, status }) => ({ id, ...status }));
    throw new Error(`not all replicas came in sync: ${JSON.stringify({ ...this.#versioned, is }, null, 1)}`);
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const { client, reader } of this.#clients) {
      client.close();
      reader?.close();
    }
    for (const { child, pid } of this.nodes) {
      child?.kill("SIGCONT");
      if (child?.exitCode !== null || child.signalCode !== null) continue;
      // What it is wrapped in ends with it, and tells what it has seen.
      if (pid > 0) process.kill(pid, "SIGTERM");
      else child.kill("SIGTERM");
    }
    const killed = setTimeout(() => {
      for (const { child } of this.nodes) child?.kill("SIGKILL");
    }, 5_000);
    await Promise.all(this.nodes.map(({ ended }) => ended));
    clearTimeout(killed);
    for (const at of this.nodes.keys()) this.#options.releaseDisk?.(this.diskDir(at));
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #boot(): Promise<void> {
    const authority = await createAuthority("bench");
    for (let i = 0; i < this.#options.replicas; i++) {
      const id = `n${i + 1}`;
      const { key, csr } = await createKeyAndCsr(id);
      const uri = containerUri({ clusterId, tenant: "default", instance: "bench", uid, nodeId: id });
      const certificate = await issueCertificate(authority, { csr, uri, days: 1 });
      const host = this.#options.host?.(id) ?? "127.0.0.1";
      const runDir = join(this.dir, id, "run");
      const disk = join(this.dir, id, "disk");
      const dataDir = join(disk, "data");
      mkdirSync(disk, { recursive: true, mode: 0o700 });
      this.#options.prepareDisk?.(disk);
      for (const dir of [runDir, dataDir]) mkdirSync(dir, { recursive: true, mode: 0o700 });
      const { replicas, durability = "fsync", aliveMs } = this.#options;
      const boot: StateBoot = {
        ...{ clusterId, tenant: "default", instance: "bench", uid, os: "hello", runDir, dataDir },
        policy: { replicas, minInSync: replicas >= 3 ? 2 : 1, durability },
        ...(aliveMs !== undefined && { aliveMs }),
        node: { id, name: id, address: host },
        incarnation: "",
        listen: { host, port: 0 },
        tls: { certificate, key, workloadCa: authority.certificate },
        secret: randomBytes(32).toString("hex"),
      };
      const unix = join(runDir, stateSockets.links);
      const replica = { node: id, disk: null, incarnation: null, unix, host, port: 0 };
      const node: Node = {
        ...{
          id,
          boot,
          child: null,
          pid: 0,
          socket: null,
          replica,
          status: null,
          killed: false,
          ended: Promise.resolve(),
        },
      };
      this.nodes.push(node);
      this.#start(node);
    }
    await this.allInSync();
  }

  #start(node: Node): void {
    const { boot } = node;
    boot.incarnation = randomBytes(8).toString("hex");
    writeFileSync(join(boot.runDir, "boot.json"), JSON.stringify(boot), { mode: 0o600 });
    const [command, ...args] = [
      ...(this.#options.wrap?.(node.id) ?? []),
      ...dvs,
      "state",
      "--run-dir",
      boot.runDir,
    ];
    const env = { ...process.env, ...stateEnvironment };
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"], env });
    node.child = child;
    node.pid = 0;
    node.status = null;
    node.killed = false;
    const { incarnation } = boot;
    node.ended = new Promise((resolve) => {
      child.once("exit", () => {
        voidGuard(boot.runDir);
        const { disk } = node.replica;
        node.status = null;
        resolve();
        if (this.#closing) return;
        if (disk) this.#certify({ node: node.id, disk, incarnation });
        if (node.killed) return;
        this.endedByThemselves++;
        if (this.#options.supervised) void sleep(restartMs).then(() => this.#startAgain(node, incarnation));
      });
    });
    void this.#link(node, incarnation);
  }

  #startAgain(node: Node, after: string): void {
    if (!this.#closing && node.boot.incarnation === after) this.#start(node);
  }

  #certify(exit: ExitCertificate): void {
    if (this.#away.has(exit.node)) {
      this.#heldExits.push(exit);
      return;
    }
    this.#exits = [...this.#exits, exit].slice(-exitsKept);
    this.#tellAll();
  }

  async #link(node: Node, incarnation: string): Promise<void> {
    const path = join(node.boot.runDir, stateSockets.control);
    for (;;) {
      if (this.#closing || node.boot.incarnation !== incarnation) return;
      const socket = await new Promise<Socket | null>((resolve) => {
        const opening = connect(path);
        opening.once("connect", () => resolve(opening));
        opening.once("error", () => resolve(null));
      });
      if (socket) {
        node.socket = socket;
        let rest = "";
        socket.on("error", () => undefined);
        socket.on("data", (bytes: Buffer) => {
          const lines = (rest + bytes.toString()).split("\n");
          rest = lines.pop()!;
          for (const line of lines) this.#receive(node, FromState.parse(JSON.parse(line)));
        });
        return;
      }
      await sleep(5);
    }
  }

  #receive(node: Node, message: FromState): void {
    switch (message.type) {
      case "hello":
        node.replica = { ...node.replica, disk: message.disk, incarnation: message.incarnation };
        node.pid = message.pid;
        return;
      case "state":
        node.replica = { ...node.replica, port: message.port };
        if (message.state === "ready") this.#tellAll();
        return;
      case "ask":
        if (this.#away.has(node.id)) return;
        return this.#tell(node, { type: "replicas", replicas: this.#set() });
      case "status":
        node.status = message;
        return;
      case "propose":
        return this.#propose(node, message.change);
    }
  }

  #propose(node: Node, { generation, version, configuration }: Change): void {
    const away = this.#away.has(node.id);
    const fits = generation === this.#versioned.generation && version === this.#versioned.version;
    if (fits && (!away || this.#options.carriedOutAway?.()))
      this.#versioned = { generation, version: version + 1, configuration };
    const { changeId } = configuration;
    const answer = (outcome: "done" | "refused" | "unknown") =>
      this.#tell(node, { type: "proposed", changeId, outcome, reason: "" });
    if (away) void sleep(awayMs).then(() => answer("unknown"));
    else answer(fits ? "done" : "refused");
    this.#tellAll();
  }

  #set(): ReplicaSet {
    return {
      revision: this.#revision,
      configuration: this.#versioned,
      policy: this.nodes[0]!.boot.policy,
      wanted: this.nodes.map(({ replica }) => replica),
      leaving: [],
      exits: [...this.#exits],
    };
  }

  #tellAll(): void {
    this.#revision++;
    const replicas = this.#set();
    const near = this.nodes.filter(({ id }) => !this.#away.has(id));
    for (const node of near) this.#tell(node, { type: "replicas", replicas });
    for (const { client } of this.#clients) client.setReplicas(addressesOf(replicas));
  }

  #tell(node: Node, message: ToState): void {
    if (node.socket?.writable) node.socket.write(`${JSON.stringify(message)}\n`);
  }
}
