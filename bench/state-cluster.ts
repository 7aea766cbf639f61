/**
 * Replicas of an instance's OS state as a benchmark runs them: real state processes (`dvs state`), one for each "node" of
 * this machine, with mutual TLS between them, and in the place of agents and coordinator a store in memory that carries
 * out configuration changes, tells everybody, and certifies the end of a process that it has reaped.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ExitCertificate, Replica, Versioned } from "../core/replica/configuration.ts";
import { KeyValue } from "../core/state/client/key-value.ts";
import { LocalReader } from "../core/state/client/local-reader.ts";
import { StateClient } from "../core/state/client/state-client.ts";
import { stateSockets, type StateBoot } from "../core/state/boot.ts";
import { FromState, type ToState } from "../core/state/control.ts";
import { voidGuard } from "../core/state/guard.ts";
import { linkTls } from "../core/state/link/link-identity.ts";
import { kv } from "../core/state/modules/kv.ts";
import { addressesOf, type ReplicaSet } from "../core/state/replica-set.ts";
import type { ReplicaStatus } from "../core/state/replica-status.ts";
import { createAuthority, issueCertificate } from "../core/trust/authority.ts";
import { createKeyAndCsr } from "../core/trust/key.ts";
import { containerUri } from "../core/trust/identity.ts";
import { sleep } from "./lib.ts";

const uid = "u-bench";
const clusterId = "bench";
const dvs = [process.execPath, "--no-install", join(import.meta.dirname, "../cli/main.ts")] as const;

export interface StateClusterOptions {
  replicas: number;
  durability?: "fsync" | "replicated";
  /** L, in milliseconds. */
  aliveMs?: number;
  /** Put before the command of each replica: `strace -c …`. */
  wrap?: (node: string) => string[];
}

interface Node {
  id: string;
  boot: StateBoot;
  child: ChildProcess | null;
  socket: Socket | null;
  replica: Replica;
  status: ReplicaStatus | null;
  ended: Promise<void>;
}

export class StateCluster {
  readonly dir = mkdtempSync(join(tmpdir(), "dvs-bench-"));
  readonly nodes: Node[] = [];
  readonly #options: StateClusterOptions;
  readonly #clients: { client: StateClient; reader: LocalReader | null }[] = [];
  readonly #exits: ExitCertificate[] = [];
  #revision = 0;
  #versioned: Versioned = { generation: 1, version: 0, configuration: null };
  #closing = false;

  static async open(options: StateClusterOptions): Promise<StateCluster> {
    const cluster = new StateCluster(options);
    await cluster.#boot();
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
    const { boot } = this.nodes[at]!;
    const client = new StateClient({
      identity: {
        instance: uid,
        node: boot.node.id,
        incarnation: `client-${randomBytes(6).toString("hex")}`,
        disk: "",
        secret: new Uint8Array(Buffer.from(boot.secret, "hex")),
        tls: linkTls(() => boot.tls),
      },
    });
    const reader = local ? new LocalReader(dirname(this.nodes[at]!.replica.unix), [kv]) : null;
    client.setReader(reader);
    client.setReplicas(addressesOf(this.#set()));
    this.#clients.push({ client, reader });
    return new KeyValue(client);
  }

  /** SIGKILL, reaped, and certified as an agent does it. */
  async kill(at: number): Promise<void> {
    this.nodes[at]!.child!.kill("SIGKILL");
    await this.nodes[at]!.ended;
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
    for (let i = 0; i < 1_000; i++) {
      const serving = this.nodes.every(({ status }) => status?.serving);
      if (serving && this.inSync === this.nodes.length) return;
      await sleep(20);
    }
    throw new Error(`not all replicas came in sync: ${JSON.stringify(this.nodes.map((n) => n.status))}`);
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const { client, reader } of this.#clients) {
      client.close();
      reader?.close();
    }
    for (const { child } of this.nodes) {
      child?.kill("SIGCONT");
      child?.kill("SIGTERM");
    }
    const killed = setTimeout(() => {
      for (const { child } of this.nodes) child?.kill("SIGKILL");
    }, 5_000);
    await Promise.all(this.nodes.map(({ ended }) => ended));
    clearTimeout(killed);
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #boot(): Promise<void> {
    const authority = await createAuthority("bench");
    for (let i = 0; i < this.#options.replicas; i++) {
      const id = `n${i + 1}`;
      const { key, csr } = await createKeyAndCsr(id);
      const uri = containerUri({ clusterId, tenant: "default", instance: "bench", uid, nodeId: id });
      const certificate = await issueCertificate(authority, { csr, uri, days: 1 });
      const runDir = join(this.dir, id, "run");
      const dataDir = join(this.dir, id, "data");
      for (const dir of [runDir, dataDir]) mkdirSync(dir, { recursive: true, mode: 0o700 });
      const { replicas, durability = "fsync", aliveMs } = this.#options;
      const boot: StateBoot = {
        ...{ clusterId, tenant: "default", instance: "bench", uid, os: "hello", runDir, dataDir },
        policy: { replicas, minInSync: replicas >= 3 ? 2 : 1, durability },
        ...(aliveMs !== undefined && { aliveMs }),
        node: { id, name: id, address: "127.0.0.1" },
        incarnation: "",
        listen: { host: "127.0.0.1", port: 0 },
        tls: { certificate, key, workloadCa: authority.certificate },
        secret: randomBytes(32).toString("hex"),
      };
      const unix = join(runDir, stateSockets.links);
      const replica = { node: id, disk: null, incarnation: null, unix, host: "127.0.0.1", port: 0 };
      const node: Node = {
        ...{ id, boot, child: null, socket: null, replica, status: null, ended: Promise.resolve() },
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
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] });
    node.child = child;
    node.status = null;
    const { incarnation } = boot;
    node.ended = new Promise((resolve) => {
      child.once("exit", () => {
        voidGuard(boot.runDir);
        const { disk } = node.replica;
        if (disk && !this.#closing) {
          this.#exits.push({ node: node.id, disk, incarnation });
          this.#tellAll();
        }
        resolve();
      });
    });
    void this.#link(node, incarnation);
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
        return;
      case "state":
        node.replica = { ...node.replica, port: message.port };
        if (message.state === "ready") this.#tellAll();
        return;
      case "ask":
        return this.#tell(node, { type: "replicas", replicas: this.#set() });
      case "status":
        node.status = message;
        return;
      case "propose": {
        const { generation, version, configuration } = message.change;
        const fits = generation === this.#versioned.generation && version === this.#versioned.version;
        if (fits) this.#versioned = { generation, version: version + 1, configuration };
        const outcome = fits ? "done" : "refused";
        this.#tell(node, { type: "proposed", changeId: configuration.changeId, outcome, reason: "" });
        this.#tellAll();
      }
    }
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
    for (const node of this.nodes) this.#tell(node, { type: "replicas", replicas });
    for (const { client } of this.#clients) client.setReplicas(addressesOf(replicas));
  }

  #tell(node: Node, message: ToState): void {
    if (node.socket?.writable) node.socket.write(`${JSON.stringify(message)}\n`);
  }
}
