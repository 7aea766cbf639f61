/** One node for tests: a data directory, an agent process, and everything that runs there. */
import { afterAll, afterEach, beforeAll, beforeEach } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type {
  ContainerReport,
  ContainerSpec,
  Desired,
  ReplicaReport,
  ReplicaSpec,
} from "../../../core/agent-protocol.ts";
import { dataDirOf } from "../../../core/agent/data-dir.ts";
import { saveIdentity } from "../../../core/agent/identity.ts";
import { localProcesses, type LocalProcess } from "../../../core/agent/local-processes.ts";
import { type IngressTable } from "../../../core/ingress/control.ts";
import { clusterId, FakeCoordinator, nodeId } from "./fake-coordinator.ts";

const agentMain = new URL("agent-process.ts", import.meta.url).pathname;

/** Each test of the file has a node of its own, and the file a coordinator that has forgotten the test before. */
export function forEachTest(given: (coordinator: FakeCoordinator, node: TestNode) => void): void {
  let coordinator: FakeCoordinator;
  let node: TestNode;
  beforeAll(async () => {
    coordinator = await FakeCoordinator.start();
  });
  afterAll(() => coordinator.down());
  beforeEach(async () => {
    coordinator.desired = null;
    coordinator.report = null;
    coordinator.replicas = null;
    coordinator.stateCalls.length = 0;
    node = await TestNode.create(coordinator);
    given(coordinator, node);
  });
  afterEach(() => node.destroy());
}

export class TestNode {
  readonly dataDir: string;
  readonly coordinator: FakeCoordinator;
  readonly witness: string;
  #agent: ChildProcess | null = null;
  #exit: Promise<number | string> = Promise.resolve(0);
  output = "";
  #revision = 0;

  static async create(coordinator: FakeCoordinator): Promise<TestNode> {
    const node = new TestNode(mkdtempSync(join(tmpdir(), "dvs-")), coordinator);
    await saveIdentity(dataDirOf(node.dataDir), await coordinator.enrolled());
    return node;
  }

  constructor(dataDir: string, coordinator: FakeCoordinator) {
    this.dataDir = dataDir;
    this.coordinator = coordinator;
    this.witness = join(dataDir, "witness");
    mkdirSync(dataDir, { recursive: true });
  }

  start(options: { crashAt?: string; stopContainers?: boolean; livenessMs?: number } = {}): void {
    const agent = spawn(process.execPath, ["--no-install", agentMain, this.dataDir, options.crashAt ?? ""], {
      stdio: ["ignore", "pipe", "inherit"],
      env: {
        ...process.env,
        ...(options.stopContainers ? { STOP_CONTAINERS: "1" } : {}),
        ...(options.livenessMs ? { LIVENESS_MS: String(options.livenessMs) } : {}),
      },
    });
    agent.stdout.on("data", (bytes: Buffer) => {
      this.output += bytes.toString();
    });
    this.#exit = new Promise((resolve) => {
      agent.on("exit", (code, signal) => resolve(signal ?? code ?? -1));
    });
    this.#agent = agent;
  }

  /** How the agent ended: its exit code or the signal. */
  ended(): Promise<number | string> {
    return this.#exit;
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#agent?.kill(signal);
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") await this.#exit;
  }

  spec(uid: string, options: Record<string, unknown> = {}, more: Partial<ContainerSpec> = {}): ContainerSpec {
    return {
      tenant: "default",
      instance: "web",
      uid,
      generation: 1,
      os: "web",
      image: null,
      options: { witness: `${this.witness}-${uid}`, ...options },
      ...more,
    };
  }

  desired(containers: ContainerSpec[], more: Partial<Desired> = {}): Desired {
    return {
      clusterId,
      storeGeneration: 1,
      revision: ++this.#revision,
      node: { id: nodeId, name: "n1", address: "127.0.0.1" },
      containers,
      replicas: [],
      routes: containers.map((c, i) => ({
        port: 8_080 + i,
        policy: "local-first",
        tenant: c.tenant,
        instance: c.instance,
        uid: c.uid,
        uri: `spiffe://${clusterId}/t/${c.tenant}/i/${c.instance}/${c.uid}`,
        upstreams: [],
      })),
      ...more,
    };
  }

  want(containers: ContainerSpec[], more: Partial<Desired> = {}): void {
    this.coordinator.want(this.desired(containers, more));
  }

  replicaSpec(uid: string, run = true): ReplicaSpec {
    const policy = { replicas: 1, minInSync: 1, durability: "fsync" as const };
    return { tenant: "default", instance: "web", uid, generation: 1, os: "web", policy, run };
  }

  replica(uid: string): ReplicaReport | undefined {
    return this.coordinator.report?.replicas.find((replica) => replica.uid === uid);
  }

  /** Waits for a report in which this state process is ready under an incarnation other than `not`. */
  async stateReady(uid: string, not = ""): Promise<ReplicaReport> {
    await this.until(`state of ${uid} ready`, () => {
      const replica = this.replica(uid);
      return replica?.state === "ready" && replica.incarnation !== not && replica.status !== null;
    });
    return this.replica(uid)!;
  }

  container(uid: string): ContainerReport | undefined {
    return this.coordinator.report?.containers.find((c) => c.uid === uid);
  }

  async until(what: string, holds: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> {
    const until = performance.now() + ms;
    while (!(await holds())) {
      if (performance.now() > until) {
        throw new Error(
          `never: ${what}; last report ${JSON.stringify(this.coordinator.report)}\n${this.output}`,
        );
      }
      await new Promise((resolve) => {
        setTimeout(resolve, 20);
      });
    }
  }

  /** Waits for a report in which this container is ready under an incarnation other than `not`. */
  async ready(uid: string, not = ""): Promise<ContainerReport> {
    await this.until(`${uid} ready`, () => {
      const c = this.container(uid);
      return c?.state === "ready" && c.incarnation !== not;
    });
    return this.container(uid)!;
  }

  table(): IngressTable | null {
    try {
      return JSON.parse(readFileSync(join(this.dataDir, "table.json"), "utf8")) as IngressTable;
    } catch {
      return null;
    }
  }

  /** Every process that ever ran for a container, as it wrote it down itself. */
  witnessed(uid: string): { pid: number; incarnation: string; double: boolean }[] {
    const path = `${this.witness}-${uid}`;
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, "utf8").trim().split("\n");
    return lines.map((line) => {
      const [pid, , incarnation = "", double] = line.split(" ");
      return { pid: Number(pid), incarnation, double: double === "DOUBLE" };
    });
  }

  /** What the agent told a container. */
  messages(uid: string): Record<string, unknown>[] {
    const path = `${this.witness}-${uid}.messages`;
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, "utf8").trim().split("\n");
    return lines.map((line) => JSON.parse(line.slice(uid.length + 1)) as Record<string, unknown>);
  }

  processes(): Promise<LocalProcess[]> {
    return localProcesses(this.dataDir);
  }

  /** As when the machine loses its power: all of it at once. */
  async powerOff(): Promise<void> {
    for (const { pid } of await this.processes()) killQuietly(pid);
    await this.#exit;
    await this.until("all dead", async () => {
      const left = await this.processes();
      for (const { pid } of left) killQuietly(pid);
      return left.length === 0;
    });
  }

  async destroy(): Promise<void> {
    await this.powerOff();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Gone already.
  }
}
