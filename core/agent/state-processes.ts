/**
 * The node's state processes: one for each replica of an instance's OS state that is to run here. Supervised as
 * containers are; what differs: one starts only after the end of the one before it was certified, it goes after the
 * containers, and its data stays (state-data.ts).
 */
import { type Desired, type ReplicaReport, ReplicaSpec } from "../agent-protocol.ts";
import { makePrivateDir, readJsonFile, writeSmallFile } from "../files.ts";
import { reconnectMaxMs } from "../limits.ts";
import type { StateBoot, StateTls } from "../state/boot.ts";
import { FromState, type ToState } from "../state/control.ts";
import type { ReplicaStatus } from "../state/replica-status.ts";
import { voidGuard } from "../state/guard.ts";
import { ReplicaSet } from "../state/replica-set.ts";
import type { InstanceCertificates } from "./instance-certificates.ts";
import { type DataDir, instanceDirOf, stateDirOf } from "./data-dir.ts";
import type { InstanceSecrets } from "./instance-secret.ts";
import { StateData } from "./state-data.ts";
import { StateRelay, type StateRelayOptions } from "./state-relay.ts";
import { type Live, type SupervisedKind, Supervisor, type SupervisorParts } from "./supervisor.ts";

export interface StateProcessesOptions {
  data: DataDir;
  clusterId: string;
  node: StateBoot["node"];
  secrets: InstanceSecrets;
  certificates: Pick<InstanceCertificates, "ensure" | "of">;
  coordinator: StateRelayOptions["coordinator"];
  /** Tells the instance's container on this node, if one is here. */
  tellContainer(uid: string, replicas: ReplicaSet): void;
  /** A container of the instance is here, or being started. */
  hasContainer(uid: string): boolean;
  parts: SupervisorParts;
  signal: AbortSignal;
}

/** What a process has told of itself. */
interface Told {
  incarnation: string;
  disk: string;
  status: ReplicaStatus | null;
}

export class StateProcesses {
  readonly relay: StateRelay;
  readonly #options: StateProcessesOptions;
  readonly #supervisor: Supervisor<ReplicaSpec, FromState, ToState>;
  readonly #stored: StateData;
  readonly #told = new Map<string, Told>();
  #wanted: ReplicaSpec[] | null = null;
  /** Uids that are to run, as the supervisor was told last. */
  #running = "";

  constructor(options: StateProcessesOptions) {
    this.#options = options;
    const { data, node, coordinator, parts, signal } = options;
    const { log } = parts;
    this.relay = new StateRelay({
      nodeId: node.id,
      coordinator,
      onReplicas: (uid, replicas) => void this.#keepReplicas(uid, replicas),
      log,
      signal,
    });
    const onChange = () => this.#changed();
    this.#supervisor = new Supervisor(this.#kind(), { ...parts, onChange });
    this.#stored = new StateData({
      data,
      busy: (uid) => this.#supervisor.has(uid),
      isGone: (of) => this.relay.isGone(of),
      retryMs: reconnectMaxMs,
      onChange: parts.onChange,
      log,
    });
  }

  /** Takes over what an earlier agent left. */
  async adopt(): Promise<void> {
    await Promise.all([this.#stored.load(), this.#supervisor.adopt()]);
  }

  setDesired({ replicas, storeGeneration }: Pick<Desired, "replicas" | "storeGeneration">): void {
    this.#wanted = replicas;
    const wanted = new Set(replicas.map((spec) => spec.uid));
    for (const uid of this.#told.keys()) if (!wanted.has(uid) && !this.has(uid)) this.#told.delete(uid);
    this.#stored.setWanted(replicas, storeGeneration);
    this.#supervise();
  }

  /** Everything of the cluster ends here; the data stays. */
  stopAll(): void {
    this.#wanted = [];
    this.#supervise();
  }

  /** Containers may have come or gone. */
  review(): void {
    this.#supervise();
  }

  reports(): ReplicaReport[] {
    const running = this.#supervisor.reports().map((report): ReplicaReport => {
      const { tenant, instance, uid, generation, incarnation, state, reason, permanent } = report;
      const told = this.#told.get(uid);
      const known = told?.incarnation === incarnation ? told : null;
      return {
        ...{ tenant, instance, uid, generation, incarnation, state, reason, permanent },
        disk: known?.disk ?? "",
        pid: report.pid,
        restarts: report.restarts,
        startedAt: report.startedAt,
        status: known?.status ?? null,
      };
    });
    const kept = this.#stored.uids().flatMap((uid) => {
      if (running.some((report) => report.uid === uid) || this.#stored.isOrphan(uid)) return [];
      return this.#keptReport(uid);
    });
    return [...running, ...kept];
  }

  warnings(): string[] {
    return this.#stored.warnings();
  }

  /** Whether a process of it is here, or being started. */
  has(uid: string): boolean {
    return this.#supervisor.has(uid);
  }

  isEmpty(): boolean {
    return this.#supervisor.isEmpty();
  }

  pushTls(uid: string, { certificate, key, workloadCa }: StateTls): void {
    this.#supervisor.tell(uid, { type: "tls", certificate, key, workloadCa });
  }

  /** The newest that is known of an instance's replicas, perhaps from before the agent started. */
  async replicasFor(uid: string): Promise<ReplicaSet | null> {
    const known = this.relay.replicas(uid);
    if (known) return known;
    const parsed = ReplicaSet.safeParse(await readJsonFile(instanceDirOf(this.#options.data, uid).replicas));
    return parsed.success ? parsed.data : null;
  }

  close(): Promise<void> {
    this.#stored.close();
    return this.#supervisor.close();
  }

  #changed(): void {
    // Data waits for the end of its process.
    this.#stored.review();
    this.#options.parts.onChange();
  }

  /** A container writes until its end: the state process of its node stays until then. */
  #supervise(): void {
    if (!this.#wanted) return;
    const running = this.#wanted
      .filter((spec) => spec.run || (this.#supervisor.has(spec.uid) && this.#options.hasContainer(spec.uid)))
      .map((spec) => ({ ...spec, run: true }));
    const text = JSON.stringify(running);
    if (text === this.#running) return;
    this.#running = text;
    this.#supervisor.setDesired(running);
  }

  #keptReport(uid: string): ReplicaReport[] {
    const spec = this.#wanted?.find((wanted) => wanted.uid === uid);
    const reason = spec ? "its data is kept" : "its data is being removed";
    const { tenant, instance, generation } = spec ?? {
      tenant: "default",
      instance: "unknown",
      generation: 0,
    };
    return [
      {
        ...{ tenant, instance, uid, generation, reason, state: "kept", permanent: false },
        ...{ disk: "", incarnation: "", pid: 0, restarts: 0, startedAt: "", status: null },
      },
    ];
  }

  async #keepReplicas(uid: string, replicas: ReplicaSet): Promise<void> {
    const { data, parts } = this.#options;
    this.#options.tellContainer(uid, replicas);
    const dir = instanceDirOf(data, uid);
    try {
      await makePrivateDir(dir.root);
      await writeSmallFile(dir.replicas, JSON.stringify(replicas), { durable: false });
    } catch (e) {
      parts.log("warn", `cannot write ${dir.replicas}: ${String(e)}`);
    }
  }

  #kind(): SupervisedKind<ReplicaSpec, FromState, ToState> {
    const { data, certificates } = this.#options;
    const { relay } = this;
    return {
      kind: "state",
      under: data.stateProcesses,
      specSchema: ReplicaSpec,
      schema: FromState,
      preparing: "waits for its certificate, and for the end of the one before it to be known",
      nameOf: (spec) => `state of ${spec.instance}`,
      dirOf: (uid) => stateDirOf(data, uid),
      prepare: async (spec) => {
        await Promise.all([certificates.ensure(spec), this.#stored.make(spec), relay.certified(spec.uid)]);
      },
      boot: (spec, of) => this.#boot(spec, of),
      stop: (graceMs) => ({ type: "stop", graceMs }),
      greeted: (process, hello) => this.#greeted(process, hello),
      receive: (process, message) => this.#receive(process, message),
      unlinked: (uid, incarnation) => relay.unlinked(uid, incarnation),
      exited(_uid, { spec, disk, incarnation }) {
        // Containers beside it read its database no more: others may go on without it from now on.
        voidGuard(stateDirOf(data, spec.uid).root);
        // One that never said hello was never registered: nobody has named it.
        if (disk !== undefined) relay.exited(ofSpec(spec), { disk, incarnation });
      },
    };
  }

  async #boot(
    spec: ReplicaSpec,
    { incarnation, port }: { incarnation: string; port: number },
  ): Promise<StateBoot> {
    const { data, clusterId, node, secrets, certificates } = this.#options;
    const dir = stateDirOf(data, spec.uid);
    const { tenant, instance, uid, os, policy } = spec;
    return {
      ...{ clusterId, tenant, instance, uid, os, policy, node, incarnation },
      runDir: dir.root,
      dataDir: dir.data,
      blobDir: data.blobs,
      listen: { host: node.address, port },
      tls: certificates.of(uid),
      secret: await secrets.of(uid),
    };
  }

  #greeted(process: Live<ReplicaSpec, ToState>, hello: FromState): void {
    if (hello.type !== "hello") return;
    const { disk } = hello;
    const { spec, incarnation, port } = process.record;
    const { uid } = spec;
    const told = this.#told.get(uid);
    this.#told.set(uid, {
      incarnation,
      disk,
      status: told?.incarnation === incarnation ? told.status : null,
    });
    const tls = this.#options.certificates.of(uid);
    if (tls) this.pushTls(uid, tls);
    this.relay.greeted({
      of: ofSpec(spec),
      holder: { disk, incarnation },
      unix: stateDirOf(this.#options.data, uid).linkSocket,
      port,
      kept: () => process.keep({ disk }),
      send: (message) => process.send(message),
    });
  }

  #receive(process: Live<ReplicaSpec, ToState>, message: FromState): void {
    const { spec, incarnation } = process.record;
    switch (message.type) {
      case "hello":
        return;
      case "state":
        if (message.state === "ready") this.relay.listening(spec.uid, incarnation, message.port);
        return;
      case "ask":
        return this.relay.ask(ofSpec(spec));
      case "propose":
        void this.relay.propose(ofSpec(spec), message.change);
        return;
      case "status": {
        const { type: _, ...status } = message;
        const told = this.#told.get(spec.uid);
        if (told?.incarnation === incarnation) told.status = status;
        this.#options.parts.onChange();
      }
    }
  }
}

function ofSpec({ tenant, instance, uid }: ReplicaSpec) {
  return { tenant, instance, uid };
}
