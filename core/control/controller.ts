/**
 * The control plane: one pure machine, event in, effects out. It owns no clock, no socket and no randomness, so that
 * the simulator can put it through whatever a cluster can do (test/sim), and it holds nothing that a successor needs:
 * the truth is in the store and in what the agents report.
 *
 *   store ─ snapshot, changes ─▶ records ┐                    ┌─▶ desired    to agents
 *   agents ─ heartbeats ───────▶ reports ├─▶ picture ─ decide ┼─▶ txn        to the store (core/control/life-cycle.ts)
 *   clock ─ ticks ─────────────▶ liveness┘                    └─▶ views      to people
 *
 * Each step looks only at what the event touched (`#dirty`), so that its cost does not grow with the number of
 * instances. It must be driven by one caller at a time; `step` never calls back.
 */
import type { Desired } from "../agent-protocol.ts";
import type { InstanceView, NodeView } from "../api/views.ts";
import { nodeDownMs, portFailedMs, replaceAfterMs, txnRetryMs } from "../limits.ts";
import { keys } from "../records.ts";
import type { ReplicaSet } from "../state/replica-set.ts";
import type { Txn } from "../store/store.ts";
import { ClusterPicture } from "./cluster-picture.ts";
import type {
  ControlEffect,
  ControlEvent,
  ControllerLimits,
  ControllerOptions,
  TxnKind,
} from "./control-event.ts";
import { decisionTxn } from "./decision-txn.ts";
import { DesiredDeriver } from "./desired-deriver.ts";
import { eventOperation, type EventStamp } from "./events.ts";
import { InFlightTxns } from "./in-flight.ts";
import { viewInstance, viewText } from "./instance-view.ts";
import { decide, placementOf } from "./life-cycle.ts";
import type { NodeTransition } from "./node-liveness.ts";
import { viewNode } from "./node-view.ts";
import { viewState } from "./state-view.ts";
import type { PlacementNode } from "./placement.ts";
import type { RecordChanges } from "./records-table.ts";
import { ReplicaSets } from "./replica-sets.ts";
import { removeNodeTxn } from "./requests.ts";

export type {
  ControlEffect,
  ControlEvent,
  ControllerLimits,
  ControllerOptions,
  TxnKind,
  TxnOutcome,
} from "./control-event.ts";

export class Controller {
  /**
   * People's time, for the events that it writes; decides nothing. Whoever drives it may set it before each step: with
   * that of the last tick, what follows from a request would be dated before it.
   */
  wallMs = 0;
  readonly #options: ControllerOptions;
  readonly #limits: ControllerLimits;
  #picture: ClusterPicture;
  #deriver: DesiredDeriver;
  #inFlight: InFlightTxns;
  #startedMs = 0;
  /** The records are known. */
  #loaded = false;
  #txns = 0;
  /** `text` is what people saw last. */
  readonly #views = new Map<string, { instance: InstanceView; text: string }>();
  /** Instances whose view or next step may have changed since they were last looked at; the same for Desired. */
  readonly #dirty = new Set<string>();
  readonly #underived = new Set<string>();
  readonly #dirtyNodes = new Set<string>();
  /** Instances that are not yet what they are to be: a change of any node may bring them on. */
  readonly #unfinished = new Set<string>();
  /** Running instances that lack a place: also what others give up may help them. */
  readonly #wanting = new Set<string>();
  readonly #removing = new Set<string>();
  readonly #leaving = new Set<string>();
  readonly #replicaSets = new ReplicaSets();
  /** Node that is down → for how long it was at the last tick. */
  readonly #downSeenMs = new Map<string, number>();
  #effects: ControlEffect[] = [];

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#limits = { nodeDownMs, replaceAfterMs, portFailedMs, txnRetryMs, ...options.limits };
    this.#picture = new ClusterPicture(this.#limits, 0, 0);
    this.#deriver = new DesiredDeriver(options.clusterId, 0);
    this.#inFlight = new InFlightTxns(this.#picture.promised, this.#limits.txnRetryMs);
  }

  step(event: ControlEvent): ControlEffect[] {
    this.#effects = [];
    switch (event.type) {
      case "start":
        this.#becomeLeader(event);
        break;
      case "snapshot":
        this.#handleRecords(this.#picture.records.applySnapshot(event.revision, event.kvs));
        this.#loaded = true;
        break;
      case "changes":
        this.#handleRecords(this.#picture.records.applyChanges(event.revision, event.events));
        break;
      case "heartbeat":
        this.#handleHeartbeat(event);
        break;
      case "tick":
        this.#tick(event);
        break;
      case "txnDone":
        this.#inFlight.done(event.id, event.outcome, this.#picture.liveness.clockMs);
        break;
    }
    if (this.#loaded) this.#reconcile();
    return this.#effects;
  }

  /** Sorted by tenant and name. */
  instanceViews(tenant?: string): InstanceView[] {
    const all = [...this.#views.values()].map((view) => view.instance);
    const views = all.filter((view) => tenant === undefined || view.tenant === tenant);
    views.sort((a, b) => compare(a.tenant, b.tenant) || compare(a.name, b.name));
    return views.map((view) => withCounters(this.#picture, view));
  }

  instanceView(tenant: string, name: string): InstanceView | undefined {
    const view = this.#views.get(keys.instance(tenant, name))?.instance;
    return view && withCounters(this.#picture, view);
  }

  /** Sorted by name. */
  nodeViews(nowMs: number): NodeView[] {
    const views = [...this.#picture.records.nodes.values()].map((n) =>
      viewNode(this.#picture, n.record, nowMs),
    );
    return views.sort((a, b) => compare(a.name, b.name));
  }

  hasNode(id: string): boolean {
    return this.#picture.records.nodes.has(id);
  }

  /** Whether the agent is to send its whole report next. */
  reportWanted(node: string, incarnation: string): boolean {
    return this.#picture.reports.wanted(node, incarnation);
  }

  /** Of an instance whose record is there, whatever is wanted of it. */
  instanceOf(uid: string): { tenant: string; name: string } | null {
    const { byUid, instances } = this.#picture.records;
    const record = instances.get(byUid.get(uid) ?? "")?.record;
    return record ? { tenant: record.tenant, name: record.name } : null;
  }

  /** Null for a node nobody knows, and until a new leader has heard enough to say. */
  desiredFor(node: string): Desired | null {
    return this.#deriver.desiredFor(node);
  }

  /** What a node that connects is to know of the replicas of its instances' OS state. */
  replicaSetsFor(node: string): { uid: string; replicas: ReplicaSet }[] {
    return this.#replicaSets.of(node);
  }

  portOwner(port: number): { tenant: string; instance: string; uid: string } | null {
    const owner = this.#picture.records.ports.get(port);
    return owner ? { tenant: owner.tenant, instance: owner.instance, uid: owner.uid } : null;
  }

  #becomeLeader(event: Extract<ControlEvent, { type: "start" }>): void {
    this.#picture = new ClusterPicture(this.#limits, event.nowMs, event.storeGeneration);
    this.#replicaSets.clear();
    this.#downSeenMs.clear();
    this.#deriver = new DesiredDeriver(this.#options.clusterId, event.storeGeneration);
    this.#inFlight = new InFlightTxns(this.#picture.promised, this.#limits.txnRetryMs);
    this.wallMs = event.wallMs;
    this.#startedMs = event.nowMs;
    this.#loaded = false;
    this.#views.clear();
    for (const set of [this.#dirty, this.#underived, this.#dirtyNodes]) set.clear();
    for (const set of [this.#unfinished, this.#wanting, this.#removing, this.#leaving]) set.clear();
  }

  #handleRecords(changes: RecordChanges): void {
    const { records, liveness, reports } = this.#picture;
    for (const key of changes.instances) {
      this.#inFlight.shown(key);
      this.#touch([key]);
      const desired = records.instances.get(key)?.record.desired;
      if (desired === "removed") this.#removing.add(key);
      else this.#removing.delete(key);
    }
    for (const { record } of changes.removedInstances) {
      const { tenant, name, uid, failure } = record;
      reports.removeInstance(uid);
      this.#replicaSets.update(this.#picture, keys.instance(tenant, name), uid);
      this.#effects.push({ type: "instance", event: { type: "removed", tenant, name, uid, failure } });
    }
    for (const id of changes.nodes) {
      this.#inFlight.shown(keys.node(id));
      const node = records.nodes.get(id)?.record;
      if (node) liveness.add(id);
      if (node?.leaving) this.#leaving.add(id);
      else this.#leaving.delete(id);
      this.#touchNode(id);
    }
    for (const { id } of changes.removedNodes) {
      liveness.remove(id);
      reports.removeNode(id);
      this.#effects.push({ type: "removed", node: id });
    }
    if (changes.placesFreed) this.#touch(this.#wanting);
    for (const key of changes.unreadable) {
      this.#log("error", `record ${key} is not readable: ${records.unreadable.get(key)}`);
    }
  }

  #handleHeartbeat(event: Extract<ControlEvent, { type: "heartbeat" }>): void {
    const { liveness, reports } = this.#picture;
    // Of a node that has just joined or gone, as far as the watch has come; the agents' API knows which.
    if (!this.#loaded || !this.hasNode(event.node)) return;
    const changes = reports.heartbeat(event.node, event, liveness.clockMs);
    if (!changes.fresh) return;
    const transition = liveness.hear(event.node, event.nowMs);
    if (transition) this.#handleTransition(transition);
    for (const uid of changes.uids) this.#touchUid(uid);
    if (changes.revision) this.#touch(this.#removing);
    if (changes.node) this.#effects.push({ type: "node", id: event.node });
  }

  #tick(event: Extract<ControlEvent, { type: "tick" }>): void {
    this.wallMs = event.wallMs;
    const { liveness, reports } = this.#picture;
    for (const transition of liveness.tick(event.nowMs, event.lagMs)) this.#handleTransition(transition);
    for (const key of this.#inFlight.expired(liveness.clockMs)) this.#dirty.add(key);
    for (const uid of reports.uidsWithFailedPort()) this.#touchUid(uid);
    this.#touchGoneReplicas();
  }

  /** Each instance has its own patience with a node that is down. */
  #touchGoneReplicas(): void {
    const { records, liveness } = this.#picture;
    for (const id of records.nodes.keys()) {
      const downMs = liveness.downMs(id);
      const seenMs = this.#downSeenMs.get(id) ?? 0;
      if (downMs === 0) this.#downSeenMs.delete(id);
      else this.#downSeenMs.set(id, downMs);
      if (downMs <= seenMs) continue;
      for (const key of records.replicasOn(id)) {
        const afterMs = records.instances.get(key)?.record.spec.state?.replaceAfterMs ?? 0;
        if (seenMs < afterMs && downMs >= afterMs) this.#touch([key]);
      }
    }
  }

  #handleTransition({ id, to, from }: NodeTransition): void {
    this.#touchNode(id);
    if (to === "lost" || from === "unknown") return;
    const name = this.#picture.nodeName(id);
    const message = to === "up" ? `node ${name} is back` : `node ${name} is down: it sends no heartbeats`;
    this.#log(to === "up" ? "info" : "warn", message);
    this.#send("event", null, {
      if: [],
      then: [
        eventOperation({
          ...this.#stamp(),
          type: to === "up" ? "normal" : "warning",
          subject: `node/${name}`,
          reason: to === "up" ? "Up" : "Down",
          message,
        }),
      ],
    });
  }

  /** Everything that follows from what the event changed. */
  #reconcile(): void {
    const picture = this.#picture;
    if (!picture.settled && this.#isSettled()) {
      picture.settled = true;
      this.#touch(picture.records.instances.keys());
      for (const id of picture.records.nodes.keys()) this.#dirtyNodes.add(id);
    }
    if (picture.settled) {
      this.#derive();
      for (const id of this.#leaving) this.#maybeRemoveNode(id);
    }
    if (this.#dirty.size === 0) return;
    const nodes = picture.placementNodes();
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const key of dirty) {
      this.#tellReplicas(key);
      if (picture.settled) this.#decide(key, nodes);
      this.#view(key, nodes);
    }
  }

  /** Every living node has reported, or a living one would have had the time to. */
  #isSettled(): boolean {
    const { liveness, reports } = this.#picture;
    if (liveness.clockMs - this.#startedMs >= this.#limits.nodeDownMs) return true;
    return this.#picture.livingNodes().every((id) => reports.report(id) !== null);
  }

  #derive(): void {
    const { records } = this.#picture;
    // What cannot be read at all cannot be left out either: that would stop its containers.
    for (const key of records.unreadable.keys()) if (!records.known(key)) return;
    for (const desired of this.#deriver.derive(this.#picture, this.#underived, this.#dirtyNodes)) {
      this.#effects.push({ type: "desired", node: desired.node.id, desired });
    }
    this.#underived.clear();
    this.#dirtyNodes.clear();
  }

  #decide(key: string, nodes: Map<string, PlacementNode>): void {
    const entry = this.#picture.records.instances.get(key);
    if (!entry || this.#inFlight.has(key)) return;
    const decision = decide(this.#picture, entry, nodes, this.#deriver.revisionOf);
    if (!decision) return;
    const added = "added" in decision ? decision.added : [];
    this.#send(
      decision.kind,
      { key, places: added },
      decisionTxn(this.#picture, entry, decision, this.#stamp()),
    );
    for (const id of added) nodes.get(id)!.containers++;
  }

  #tellReplicas(key: string): void {
    const uid = this.#picture.records.instances.get(key)?.record.uid;
    if (uid === undefined) return;
    for (const { node, replicas } of this.#replicaSets.update(this.#picture, key, uid)) {
      this.#effects.push({ type: "replicas", node, uid, replicas });
    }
  }

  /** A node that leaves goes when nothing is placed on it and it runs nothing, or is down. */
  #maybeRemoveNode(id: string): void {
    const { records, reports, promised } = this.#picture;
    const entry = records.nodes.get(id);
    if (!entry || this.#inFlight.has(entry.key)) return;
    if (records.placedOn(id).size > 0 || (promised.get(id)?.size ?? 0) > 0) return;
    if (records.replicasOn(id).size > 0) return;
    const report = reports.report(id);
    const has = !report || report.containers.length > 0 || report.replicas.length > 0;
    if (this.#picture.alive(id) && has) return;
    const txn = removeNodeTxn(entry.record, entry.modRevision, this.#stamp());
    this.#send("node-remove", { key: entry.key, places: [] }, txn);
  }

  /** Emits the view where it differs, and keeps in mind what the instance still waits for. */
  #view(key: string, nodes: ReadonlyMap<string, PlacementNode>): void {
    const entry = this.#picture.records.instances.get(key);
    for (const set of [this.#unfinished, this.#wanting]) set.delete(key);
    if (!entry) {
      this.#views.delete(key);
      return;
    }
    const instance = viewInstance(this.#picture, entry, nodes, this.#deriver.revisionOf);
    if (instance.phase !== "running" && instance.phase !== "stopped") this.#unfinished.add(key);
    if (entry.record.desired === "running") {
      if (placementOf(this.#picture, entry.record, nodes).missing > 0) this.#wanting.add(key);
    }
    const text = viewText(instance);
    const same = this.#views.get(key)?.text === text;
    this.#views.set(key, { instance, text });
    if (!same) this.#effects.push({ type: "instance", event: { type: "instance", instance } });
  }

  #send(kind: TxnKind, changes: { key: string; places: readonly string[] } | null, txn: Txn): void {
    const id = `${kind}-${++this.#txns}`;
    if (changes) this.#inFlight.begin(id, changes.key, changes.places);
    this.#effects.push({ type: "txn", id, kind, txn });
  }

  #stamp(): EventStamp {
    return { id: this.#options.random(), wallMs: this.wallMs };
  }

  #touch(keys: Iterable<string>): void {
    for (const key of keys) {
      this.#dirty.add(key);
      this.#underived.add(key);
    }
  }

  #touchUid(uid: string): void {
    const key = this.#picture.records.byUid.get(uid);
    if (key !== undefined) this.#touch([key]);
  }

  /** The node's record or liveness changed: look again at what it holds and at what it might take. */
  #touchNode(id: string): void {
    this.#dirtyNodes.add(id);
    this.#touch(this.#picture.records.placedOn(id));
    this.#touch(this.#picture.records.replicasOn(id));
    this.#touch(this.#unfinished);
    this.#touch(this.#wanting);
    this.#effects.push({ type: "node", id });
  }

  #log(level: "info" | "warn" | "error", message: string): void {
    this.#effects.push({ type: "log", level, message });
  }
}

/** Requests are counted all the time without anything being touched. */
function withCounters(picture: ClusterPicture, view: InstanceView): InstanceView {
  const containers = view.containers.map((container) => {
    const requests = picture.reports.container(view.uid, container.node)?.requests;
    return requests === undefined ? container : { ...container, requests };
  });
  const record = picture.records.instances.get(keys.instance(view.tenant, view.name))?.record;
  return { ...view, containers, state: record ? viewState(picture, record) : view.state };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
