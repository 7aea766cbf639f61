/**
 * The agent as the controllers know it: it keeps to the protocol (core/agent-protocol.ts) and is otherwise as simple
 * as can be. It obeys the newest Desired, adopts containers that it finds, and reports.
 */
import type {
  ContainerReport,
  ContainerState,
  Desired,
  PortReport,
  ToAgent,
} from "../../../core/agent-protocol.ts";
import type { Stream } from "../harness/stream.ts";
import type { SimCoordinator } from "./sim-coordinator.ts";
import type { ContainerProcess, SimMachine } from "./sim-machine.ts";
import { SimStateAgent } from "./sim-replicas.ts";

const heartbeatMs = 500;
const silentMs = 3_000;

/** What the agent remembers of a container between its processes. */
interface Supervised {
  state: ContainerState;
  reason: string;
  permanent: boolean;
  restarts: number;
  process: ContainerProcess | null;
}

export interface HeartbeatReply {
  leader: boolean;
  reportWanted: boolean;
}

export class SimAgent {
  readonly #machine: SimMachine;
  readonly #incarnation: string;
  #sequence = 0;
  #desired: Desired | null;
  readonly #supervised = new Map<string, Supervised>();
  #ports: PortReport[] = [];
  #coordinator: SimCoordinator;
  #stream: Stream<never, ToAgent> | null = null;
  #heardMs: number;
  /** The report that the coordinator is known to have. */
  #acknowledged = "";
  #unanswered = 0;
  #soon = false;
  readonly #state: SimStateAgent;

  constructor(machine: SimMachine) {
    this.#machine = machine;
    this.#state = new SimStateAgent(machine);
    const { sim, coordinators } = machine.world;
    this.#incarnation = sim.random.id();
    this.#coordinator = sim.random.pick(coordinators);
    this.#desired = machine.loadDesired();
    this.#heardMs = machine.agentHost.nowMs();
    for (const [uid, process] of machine.containers) {
      sim.count("agent:adopted a container");
      this.#supervised.set(uid, { state: "starting", reason: "", permanent: false, restarts: 0, process });
    }
    machine.agentHost.every(heartbeatMs, () => this.#beat());
    machine.agentHost.every(100, () => this.#reconcile());
    this.#connect();
    this.#reconcile();
    this.#beat();
  }

  containerExited(uid: string): void {
    const supervised = this.#supervised.get(uid);
    if (!supervised?.process || supervised.process.state !== "dead") return;
    const { permanent, reason } = supervised.process;
    supervised.process = null;
    if (!this.#wants(uid)) {
      this.#supervised.delete(uid);
    } else if (permanent) {
      Object.assign(supervised, { state: "failed", permanent, reason });
    } else {
      Object.assign(supervised, { state: "backoff", reason: reason || "killed" });
      const delayMs = Math.min(2_000, 100 * 2 ** supervised.restarts++);
      this.#machine.agentHost.after(delayMs, () => this.#run(uid));
    }
    this.changed();
  }

  /** Something that is reported changed: say so soon, not at once, since more may come. */
  changed(): void {
    if (this.#soon) return;
    this.#soon = true;
    this.#machine.agentHost.after(10, () => {
      this.#soon = false;
      this.#beat();
    });
  }

  wantsReplica(uid: string): boolean {
    return this.#desired?.replicas.some((spec) => spec.uid === uid) ?? false;
  }

  #wants(uid: string): boolean {
    return this.#desired?.containers.some((spec) => spec.uid === uid) ?? false;
  }

  #reconcile(): void {
    const { containers, agentHost } = this.#machine;
    if (agentHost.nowMs() - this.#heardMs > silentMs) this.#reconnect();
    if (!this.#desired) return;
    for (const { uid } of this.#desired.containers) {
      if (this.#supervised.has(uid)) continue;
      this.#supervised.set(uid, {
        state: "pulling",
        reason: "",
        permanent: false,
        restarts: 0,
        process: null,
      });
      agentHost.after(this.#machine.world.sim.random.between(1, 60), () => this.#run(uid));
    }
    for (const [uid, supervised] of this.#supervised) {
      if (supervised.process && containers.get(uid) !== supervised.process) this.containerExited(uid);
      if (this.#wants(uid)) continue;
      if (supervised.process) this.#machine.stopContainer(supervised.process);
      else this.#supervised.delete(uid);
    }
    const replicas = new Map(this.#desired.replicas.map((spec) => [spec.uid, spec]));
    this.#state.reconcile(replicas, (uid) => containers.has(uid));
    const ports = this.#machine.applyRoutes(this.#desired.routes);
    if (JSON.stringify(ports) !== JSON.stringify(this.#ports)) {
      this.#ports = ports;
      this.changed();
    }
  }

  #run(uid: string): void {
    const spec = this.#desired?.containers.find((container) => container.uid === uid);
    const supervised = this.#supervised.get(uid);
    if (!spec || !supervised || supervised.process || supervised.state === "failed") return;
    supervised.process = this.#machine.startContainer(spec);
    supervised.state = "starting";
    this.changed();
  }

  #beat(): void {
    const { agentHost, world } = this.#machine;
    const report = this.#machine.report(this.#desired?.revision ?? 0, this.#containerReports(), this.#ports);
    const text = JSON.stringify(report);
    const whole = text !== this.#acknowledged;
    const coordinator = this.#coordinator;
    const beat = { incarnation: this.#incarnation, sequence: ++this.#sequence, ...(whole ? { report } : {}) };
    // Three heartbeats without an answer: ask another coordinator.
    if (++this.#unanswered > 3) this.#reconnect();
    world.sim.network.request<HeartbeatReply>(
      agentHost,
      coordinator.host,
      (reply) => reply(coordinator.handleHeartbeat(this.#machine.id, beat)),
      (answer) => {
        if (coordinator !== this.#coordinator) return;
        this.#unanswered = 0;
        if (!answer.leader) this.#reconnect();
        else if (answer.reportWanted) this.#acknowledged = "";
        else if (whole) this.#acknowledged = text;
      },
    );
  }

  #containerReports(): ContainerReport[] {
    return [...this.#supervised].flatMap(([uid, { state, reason, permanent, restarts, process }]) => {
      const spec = process?.spec ?? this.#desired?.containers.find((c) => c.uid === uid);
      if (!spec) return [];
      const live = process && process.state !== "dead" ? process : null;
      return [
        {
          tenant: spec.tenant,
          instance: spec.instance,
          uid,
          incarnation: process?.incarnation ?? "",
          generation: spec.generation,
          state: live ? (live.state as ContainerState) : state,
          reason,
          permanent,
          pid: 1,
          port: live?.port ?? 0,
          restarts,
          startedAt: "",
          requests: 0,
        },
      ];
    });
  }

  #reconnect(): void {
    const { coordinators, sim } = this.#machine.world;
    const others = coordinators.filter((coordinator) => coordinator !== this.#coordinator);
    this.#coordinator = sim.random.pick(others.length > 0 ? others : coordinators);
    this.#stream?.close();
    this.#connect();
  }

  #connect(): void {
    const { agentHost, world } = this.#machine;
    const coordinator = this.#coordinator;
    this.#heardMs = agentHost.nowMs();
    this.#unanswered = 0;
    this.#acknowledged = "";
    const stream = world.sim.network.connect<never, ToAgent>(agentHost, coordinator.host, (far) =>
      coordinator.listen(this.#machine.id, far),
    );
    this.#stream = stream;
    stream.onMessage = (message) => {
      this.#heardMs = agentHost.nowMs();
      if (message.type === "desired") this.#obey(message.desired);
      else if (message.type === "removed") this.#machine.dismiss();
    };
    stream.onClose = () => {
      if (stream === this.#stream) agentHost.after(100, () => this.#reconnect());
    };
  }

  #obey(desired: Desired): void {
    const { sim } = this.#machine.world;
    if (this.#desired && desired.revision < this.#desired.revision) {
      sim.count("agent:refused an older Desired");
      return;
    }
    sim.log(
      `${this.#machine.id} obeys r${desired.revision}: ${desired.containers.map((c) => c.uid).join(" ")}`,
    );
    this.#machine.saveDesired(desired);
    this.#desired = desired;
    this.#reconcile();
    this.changed();
  }
}
