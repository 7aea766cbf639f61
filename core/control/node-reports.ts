/**
 * What the nodes report, indexed by instance. Nothing here is stored: a new leader asks every agent for its whole
 * report. Pure machine.
 */
import type { ContainerReport, PortReport, ReplicaReport, Report } from "../agent-protocol.ts";

/** Where other nodes reach a container. */
export interface Upstream {
  incarnation: string;
  port: number;
}

interface NodeReport {
  /** Of the agent process; a new one makes us forget the report of the old. */
  incarnation: string;
  sequence: number;
  report: Report | null;
  ports: Map<number, PortStatus>;
  /** Agent processes that this one replaced: what still arrives from them is too late. */
  superseded: string[];
}

interface PortStatus {
  report: PortReport;
  /** Clock reading since which it has failed without a break; null while it is open. */
  failedSinceMs: number | null;
}

/** What a heartbeat changed. */
export interface ReportChanges {
  /** False: a duplicate, or from an agent process that was replaced. Not a sign of life. */
  fresh: boolean;
  /** Uids of instances of which something changed that people or controllers look at. */
  uids: Set<string>;
  /** The node's own figures changed. */
  node: boolean;
  /** It applied another Desired. */
  revision: boolean;
}

const supersededMax = 8;

export class NodeReports {
  readonly #nodes = new Map<string, NodeReport>();
  /** uid → node → what it last reported. Also of nodes that are down: see NodeLiveness. */
  readonly #containers = new Map<string, Map<string, ContainerReport>>();
  /** The same of replicas of its OS state. */
  readonly #replicas = new Map<string, Map<string, ReplicaReport>>();
  /** uid → node → the last incarnation that was ready, until it is reported dead. */
  readonly #upstreams = new Map<string, Map<string, Upstream>>();
  /** uid → nodes where its container was ready at least once. */
  readonly #readyOnce = new Map<string, Set<string>>();

  wanted(node: string, incarnation: string): boolean {
    const known = this.#nodes.get(node);
    if (known?.superseded.includes(incarnation)) return false;
    return known?.incarnation !== incarnation || known.report === null;
  }

  report(node: string): Report | null {
    return this.#nodes.get(node)?.report ?? null;
  }

  containersOf(uid: string): ReadonlyMap<string, ContainerReport> {
    return this.#containers.get(uid) ?? new Map();
  }

  /** The container that the agent process now in charge of the node reports. */
  container(uid: string, node: string): ContainerReport | undefined {
    return this.#containers.get(uid)?.get(node);
  }

  replicasOf(uid: string): ReadonlyMap<string, ReplicaReport> {
    return this.#replicas.get(uid) ?? new Map();
  }

  /** The replica that the agent process now in charge of the node reports. */
  replica(uid: string, node: string): ReplicaReport | undefined {
    return this.#replicas.get(uid)?.get(node);
  }

  upstream(uid: string, node: string): Upstream | undefined {
    return this.#upstreams.get(uid)?.get(node);
  }

  readyOnce(uid: string, node: string): boolean {
    return this.#readyOnce.get(uid)?.has(node) ?? false;
  }

  port(node: string, port: number): PortReport | undefined {
    return this.#nodes.get(node)?.ports.get(port)?.report;
  }

  /** Whether the node still has a port of this instance open, or tries to. */
  hasPortOf(node: string, uid: string, ports: readonly number[]): boolean {
    return ports.some((port) => this.port(node, port)?.uid === uid);
  }

  /** How long the port has failed on the node for this instance; 0 when it has not. */
  portFailedMs(node: string, port: number, uid: string, clockMs: number): number {
    const status = this.#nodes.get(node)?.ports.get(port);
    if (!status || status.report.uid !== uid || status.failedSinceMs === null) return 0;
    return Math.max(0, clockMs - status.failedSinceMs);
  }

  /** Uids with a port that fails on some node. */
  *uidsWithFailedPort(): Iterable<string> {
    for (const node of this.#nodes.values()) {
      for (const port of node.ports.values()) if (port.failedSinceMs !== null) yield port.report.uid;
    }
  }

  heartbeat(
    id: string,
    beat: { incarnation: string; sequence: number; report?: Report | undefined },
    clockMs: number,
  ): ReportChanges {
    const changes: ReportChanges = { fresh: true, uids: new Set(), node: false, revision: false };
    let node = this.#nodes.get(id);
    if (node?.superseded.includes(beat.incarnation)) return { ...changes, fresh: false };
    if (node?.incarnation === beat.incarnation && beat.sequence <= node.sequence) {
      return { ...changes, fresh: false };
    }
    if (node?.incarnation !== beat.incarnation) {
      const superseded = node ? [...node.superseded, node.incarnation].slice(-supersededMax) : [];
      if (node?.report) this.#forgetReport(id, node, changes);
      node = { incarnation: beat.incarnation, sequence: 0, report: null, ports: new Map(), superseded };
      this.#nodes.set(id, node);
    }
    node.sequence = beat.sequence;
    if (beat.report) this.#apply(id, node, beat.report, clockMs, changes);
    return changes;
  }

  removeNode(id: string): Set<string> {
    const uids = new Set<string>();
    this.#nodes.delete(id);
    for (const index of [this.#containers, this.#replicas, this.#upstreams, this.#readyOnce]) {
      for (const [uid, nodes] of index) if (nodes.delete(id)) uids.add(uid);
    }
    return uids;
  }

  removeInstance(uid: string): void {
    this.#upstreams.delete(uid);
    this.#readyOnce.delete(uid);
  }

  /** The containers run on while their agent restarts: their upstreams stay until the new agent has spoken. */
  #forgetReport(id: string, node: NodeReport, changes: ReportChanges): void {
    changes.node = true;
    for (const { uid } of node.report?.containers ?? []) {
      this.#drop(this.#containers, uid, id);
      changes.uids.add(uid);
    }
    for (const { uid } of node.report?.replicas ?? []) {
      this.#drop(this.#replicas, uid, id);
      changes.uids.add(uid);
    }
  }

  #apply(id: string, node: NodeReport, report: Report, clockMs: number, changes: ReportChanges): void {
    const old = node.report;
    node.report = report;
    changes.revision = old?.revision !== report.revision;
    changes.node ||= nodeDiffers(old, report);
    const present = new Set<string>();
    for (const container of report.containers) {
      const { uid } = container;
      // Of two incarnations, the one that is not on its way out counts.
      if (present.has(uid) && container.state === "stopping") continue;
      present.add(uid);
      const before = this.container(uid, id);
      if (!before || containerDiffers(before, container)) changes.uids.add(uid);
      put(this.#containers, uid, id, container);
      this.#trackUpstream(uid, id, container);
    }
    for (const { uid } of old?.containers ?? []) {
      if (present.has(uid)) continue;
      this.#drop(this.#containers, uid, id);
      changes.uids.add(uid);
    }
    for (const uid of this.#upstreams.keys()) {
      if (!present.has(uid) && this.#drop(this.#upstreams, uid, id)) changes.uids.add(uid);
    }
    for (const [uid, nodes] of this.#readyOnce) {
      if (!present.has(uid) && nodes.delete(id) && nodes.size === 0) this.#readyOnce.delete(uid);
    }
    this.#applyReplicas(id, old, report, changes);
    this.#applyPorts(node, report, clockMs, changes);
  }

  #applyReplicas(id: string, old: Report | null, report: Report, changes: ReportChanges): void {
    const present = new Set(report.replicas.map((replica) => replica.uid));
    for (const replica of report.replicas) {
      const before = this.replica(replica.uid, id);
      if (!before || replicaDiffers(before, replica)) changes.uids.add(replica.uid);
      put(this.#replicas, replica.uid, id, replica);
    }
    for (const { uid } of old?.replicas ?? []) {
      if (present.has(uid)) continue;
      this.#drop(this.#replicas, uid, id);
      changes.uids.add(uid);
    }
  }

  /** A ready container is an upstream until another incarnation, or its death, is reported. */
  #trackUpstream(uid: string, id: string, container: ContainerReport): void {
    const { state, incarnation, port } = container;
    if (state === "ready") {
      const ready = this.#readyOnce.get(uid) ?? new Set();
      this.#readyOnce.set(uid, ready.add(id));
      if (port > 0) put(this.#upstreams, uid, id, { incarnation, port });
      else this.#drop(this.#upstreams, uid, id);
    } else if (state !== "stopping" || this.upstream(uid, id)?.incarnation !== incarnation) {
      this.#drop(this.#upstreams, uid, id);
    }
  }

  #applyPorts(node: NodeReport, report: Report, clockMs: number, changes: ReportChanges): void {
    const old = node.ports;
    node.ports = new Map();
    for (const port of report.ports) {
      const before = old.get(port.port);
      const same = before?.report.uid === port.uid;
      const since = same ? before.failedSinceMs : null;
      const failedSinceMs = port.state === "failed" ? (since ?? clockMs) : null;
      node.ports.set(port.port, { report: port, failedSinceMs });
      if (!same || portDiffers(before.report, port)) changes.uids.add(port.uid);
      if (before && !same) changes.uids.add(before.report.uid);
    }
    for (const [port, before] of old) if (!node.ports.has(port)) changes.uids.add(before.report.uid);
  }

  #drop<T>(index: Map<string, Map<string, T>>, uid: string, node: string): boolean {
    const nodes = index.get(uid);
    const dropped = nodes?.delete(node) ?? false;
    if (nodes?.size === 0) index.delete(uid);
    return dropped;
  }
}

function put<T>(index: Map<string, Map<string, T>>, uid: string, node: string, value: T): void {
  const nodes = index.get(uid) ?? new Map<string, T>();
  index.set(uid, nodes.set(node, value));
}

/** All but the counter of requests, which changes with each report and decides nothing. */
function containerDiffers(a: ContainerReport, b: ContainerReport): boolean {
  return (
    a.incarnation !== b.incarnation ||
    a.state !== b.state ||
    a.reason !== b.reason ||
    a.permanent !== b.permanent ||
    a.port !== b.port ||
    a.pid !== b.pid ||
    a.restarts !== b.restarts ||
    a.generation !== b.generation ||
    a.startedAt !== b.startedAt ||
    a.kernel?.kernel !== b.kernel?.kernel ||
    a.kernel?.state !== b.kernel?.state
  );
}

/** All but the figures, which never stand still and decide nothing. */
function replicaDiffers(a: ReplicaReport, b: ReplicaReport): boolean {
  return (
    a.disk !== b.disk ||
    a.incarnation !== b.incarnation ||
    a.state !== b.state ||
    a.reason !== b.reason ||
    a.permanent !== b.permanent ||
    a.pid !== b.pid ||
    a.restarts !== b.restarts ||
    a.status?.role !== b.status?.role ||
    a.status?.serving !== b.status?.serving ||
    a.status?.epoch !== b.status?.epoch ||
    a.status?.durability !== b.status?.durability ||
    a.status?.problem !== b.status?.problem
  );
}

function portDiffers(a: PortReport, b: PortReport): boolean {
  return a.state !== b.state || a.reason !== b.reason || a.routed !== b.routed;
}

/** All but figures that never stand still. */
function nodeDiffers(a: Report | null, b: Report): boolean {
  return (
    a === null ||
    a.version !== b.version ||
    a.runtime !== b.runtime ||
    a.bootId !== b.bootId ||
    a.warnings.join("\n") !== b.warnings.join("\n") ||
    a.containers.length !== b.containers.length
  );
}
