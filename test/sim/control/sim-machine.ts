/**
 * A machine of a simulated cluster: its agent, its containers, its ports, its disk. Containers and the ingress are
 * host processes of their own, so they outlive the agent; nothing but the disk outlives the machine.
 */
import type {
  ContainerReport,
  ContainerSpec,
  Desired,
  PortReport,
  Report,
  Route,
} from "../../../core/agent-protocol.ts";
import { Disk } from "../harness/disk.ts";
import type { Host } from "../harness/host.ts";
import type { ControlWorld } from "./control-world.ts";
import { SimAgent } from "./sim-agent.ts";
import type { SimReplica } from "./sim-replicas.ts";

/** A host process that runs an instance's container. */
export interface ContainerProcess {
  spec: ContainerSpec;
  incarnation: string;
  state: "starting" | "ready" | "stopping" | "dead";
  permanent: boolean;
  reason: string;
  port: number;
}

export class SimMachine {
  readonly world: ControlWorld;
  readonly id: string;
  readonly host: Host;
  readonly agentHost: Host;
  readonly disk: Disk;
  /** By uid: at most one process of an instance on a node, ever. */
  readonly containers = new Map<string, ContainerProcess>();
  /** Replicas of instances' OS state on its disk, each with its process if one runs. */
  readonly replicas = new Map<string, SimReplica>();
  /** What the ingress process has open. */
  readonly openPorts = new Map<number, string>();
  /** Ports that another program holds. */
  readonly foreignPorts = new Set<number>();
  routes: readonly Route[] = [];
  agent: SimAgent | null = null;
  /** Its agent was told that the node is no longer wanted. */
  dismissed = false;
  /** It has burnt down and will not come back. */
  burnt = false;
  #lastPort = 20_000;

  constructor(world: ControlWorld, id: string) {
    this.world = world;
    this.id = id;
    this.host = world.sim.host(id);
    this.agentHost = world.sim.host(id);
    this.disk = new Disk(world.sim.random);
  }

  powerOn(): void {
    this.world.sim.log(`${this.id} on`);
    this.host.start();
    this.startAgent();
  }

  powerOff(): void {
    this.world.sim.log(`${this.id} off`);
    this.host.crash();
    this.agentHost.crash();
    this.agent = null;
    for (const process of this.containers.values()) process.state = "dead";
    this.containers.clear();
    for (const replica of this.replicas.values()) replica.incarnation = null;
    this.openPorts.clear();
    this.routes = [];
    this.disk.powerCut();
  }

  /** SIGSTOP to everything on it. */
  pause(): void {
    this.world.sim.log(`${this.id} paused`);
    this.host.pause();
    this.agentHost.pause();
  }

  resume(): void {
    this.world.sim.log(`${this.id} resumed`);
    this.host.resume();
    this.agentHost.resume();
  }

  startAgent(): void {
    if (this.dismissed || !this.host.running) return;
    this.agentHost.start();
    if (this.host.paused) this.agentHost.pause();
    this.agent = new SimAgent(this);
  }

  crashAgent(): void {
    this.world.sim.log(`${this.id} agent crashes`);
    this.agentHost.crash();
    this.agent = null;
  }

  /** The agent obeys `removed`: everything stops, for good. */
  dismiss(): void {
    this.world.sim.log(`${this.id} dismissed`);
    this.dismissed = true;
    this.crashAgent();
    for (const uid of this.containers.keys()) this.killContainer(uid);
    for (const replica of this.replicas.values()) replica.incarnation = null;
    this.openPorts.clear();
    this.routes = [];
  }

  startContainer(spec: ContainerSpec): ContainerProcess {
    const { sim } = this.world;
    if (this.containers.has(spec.uid)) throw new Error(`${this.id} runs ${spec.instance} twice`);
    const process: ContainerProcess = {
      spec,
      incarnation: sim.random.id(),
      state: "starting",
      permanent: false,
      reason: "",
      port: 0,
    };
    this.containers.set(spec.uid, process);
    this.world.invariants.noteStart(this.id, process);
    this.host.after(sim.random.between(20, 200), () => this.#boot(process));
    return process;
  }

  stopContainer(process: ContainerProcess): void {
    if (process.state === "stopping" || process.state === "dead") return;
    process.state = "stopping";
    this.host.after(this.world.sim.random.between(5, 400), () => this.killContainer(process.spec.uid));
  }

  killContainer(uid: string): void {
    const process = this.containers.get(uid);
    if (!process) return;
    process.state = "dead";
    this.containers.delete(uid);
    this.agentHost.after(5, () => this.agent?.containerExited(uid));
  }

  /** Its agent removes the data of a replica that has no process. */
  removeReplica(uid: string): void {
    const replica = this.replicas.get(uid)!;
    this.world.invariants.noteDataRemoved(this.id, replica);
    this.replicas.delete(uid);
    this.world.sim.count("replica:data removed");
    this.world.sim.log(`${this.id} removes the data of ${uid}`);
    this.agent?.changed();
  }

  killReplica(uid: string): void {
    const replica = this.replicas.get(uid);
    if (replica) replica.incarnation = null;
    this.agentHost.after(5, () => this.agent?.changed());
  }

  /** The ingress takes a new table: what is not in it is closed, what is new is opened if it can be. */
  applyRoutes(routes: readonly Route[]): PortReport[] {
    this.routes = routes;
    const wanted = new Map(routes.map((route) => [route.port, route]));
    for (const port of this.openPorts.keys()) if (!wanted.has(port)) this.openPorts.delete(port);
    return [...wanted].map(([port, { uid, upstreams }]) => {
      if (!this.openPorts.has(port) && this.foreignPorts.has(port)) {
        return { port, uid, state: "failed" as const, reason: "address in use" };
      }
      this.openPorts.set(port, uid);
      this.world.invariants.notePortOpen(this.id, port, uid);
      return { port, uid, state: "open" as const, reason: "", routed: upstreams.length > 0 };
    });
  }

  saveDesired(desired: Desired): void {
    // A name never means half a file: write beside, sync, rename, sync the directory.
    this.disk.truncate("desired.new");
    this.disk.write("desired.new", 0, new TextEncoder().encode(JSON.stringify(desired)));
    this.disk.sync("desired.new");
    this.disk.rename("desired.new", "desired.json");
    this.disk.syncDirectory();
  }

  loadDesired(): Desired | null {
    const bytes = this.disk.read("desired.json");
    return bytes ? (JSON.parse(new TextDecoder().decode(bytes)) as Desired) : null;
  }

  #boot(process: ContainerProcess): void {
    if (this.containers.get(process.spec.uid) !== process || process.state !== "starting") return;
    const { random } = this.world.sim;
    const { poison, flaky } = process.spec.options as { poison?: string[]; flaky?: boolean };
    if (poison?.includes(this.id)) {
      process.permanent = true;
      process.reason = "INVALID: unknown option";
      this.world.invariants.notePermanentFailure(process.spec.uid);
      this.killContainer(process.spec.uid);
    } else if (flaky && random.chance(0.4)) {
      process.reason = "exit 1";
      this.killContainer(process.spec.uid);
    } else {
      process.state = "ready";
      process.port = ++this.#lastPort;
      this.world.invariants.noteReady(this.id, process);
      this.agentHost.after(2, () => this.agent?.changed());
    }
  }

  report(revision: number, containers: ContainerReport[], ports: PortReport[]): Report {
    return {
      version: "1",
      runtime: "sim",
      bootId: String(this.host.life),
      cpus: 2,
      memoryBytes: 1,
      diskFreeBytes: 1,
      revision,
      containers,
      replicas: [...this.replicas.values()].map(({ uid, disk, incarnation }) => ({
        ...{ tenant: "default", instance: "?", uid, generation: 1, disk, incarnation: incarnation ?? "" },
        ...{ state: incarnation ? ("ready" as const) : ("kept" as const), reason: "", permanent: false },
        ...{ pid: 1, restarts: 0, startedAt: "", status: null },
      })),
      ports,
      ingressRequests: 0,
      warnings: [],
    };
  }
}
