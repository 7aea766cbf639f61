/**
 * What must hold at every moment of a simulated cluster, whatever has failed. Facts about the machines are noted as
 * they happen, and each commit, each Desired is judged by them, not by what the controllers believe.
 */
import type { Desired } from "../../../core/agent-protocol.ts";
import type { Controller, TxnKind } from "../../../core/control/controller.ts";
import { InstanceRecord, keys, LeaderRecord, NodeRecord, PortRecord } from "../../../core/records.ts";
import type { KeyValue, Txn } from "../../../core/store/store.ts";
import type { ControlWorld } from "./control-world.ts";
import type { ReplicaSet } from "../../../core/state/replica-set.ts";
import type { Configuration } from "../../../core/replica/configuration.ts";
import type { ContainerProcess } from "./sim-machine.ts";
import type { SimReplica } from "./sim-replicas.ts";
import type { Commit } from "./sim-store.ts";

const isInstance = (key: string) => key.startsWith(keys.instances("default"));

export class Invariants {
  readonly #world: ControlWorld;
  /** Incarnation → whose container it was, where, and its port. */
  readonly #incarnations = new Map<string, { uid: string; node: string; port: number; readyMs: number }>();
  readonly #readyOn = new Set<string>();
  readonly #portOpened = new Set<string>();
  readonly #failedForGood = new Set<string>();
  readonly #created = new Set<string>();
  readonly #removeAsked = new Set<string>();
  readonly #removed = new Set<string>();
  readonly #deleted = new Set<string>();
  /** uid → nodes that were up, hence waited for, when its deletion was decided. */
  readonly #upAtDelete = new Map<string, Set<string>>();
  /** Node → when it last ceased to drain. */
  readonly #undrainedMs = new Map<string, number>();
  /** port → its owners by revision. */
  readonly #owners = new Map<number, { revision: number; uid: string | null }[]>();

  constructor(world: ControlWorld) {
    this.#world = world;
  }

  noteStart(node: string, process: ContainerProcess): void {
    const { uid } = process.spec;
    const late = this.#deleted.has(uid) && this.#upAtDelete.get(uid)?.has(node);
    assert(!late, `${uid} starts on ${node} after its deletion, for which ${node} was waited for`);
    this.#incarnations.set(process.incarnation, { uid, node, port: 0, readyMs: 0 });
  }
  noteReady(node: string, { incarnation, spec, port }: ContainerProcess): void {
    this.#incarnations.set(incarnation, { uid: spec.uid, node, port, readyMs: this.#world.sim.nowMs });
    this.#readyOn.add(`${spec.uid}@${node}`);
  }
  notePermanentFailure(uid: string): void {
    this.#failedForGood.add(uid);
  }
  notePortOpen(node: string, port: number, uid: string): void {
    this.#portOpened.add(`${uid}:${port}@${node}`);
  }
  /** The data of a replica goes: nobody may count on it. */
  noteDataRemoved(node: string, { uid, disk }: SimReplica): void {
    const record = this.#instances().find((instance) => instance.uid === uid);
    if (!record || record.desired === "removed") return;
    const configuration = this.#world.replicas.configuration(uid);
    const counted = configuration?.inSync.includes(disk) ?? false;
    assert(!counted, `${node} removes its data of ${uid}, which is in sync`);
  }

  /** What replicas are told of each other is what the store has held. */
  checkReplicas(node: string, uid: string, { wanted, leaving, configuration }: ReplicaSet): void {
    const nodes = [...wanted, ...leaving].map((replica) => replica.node);
    assert(new Set(nodes).size === nodes.length, `${node} is told of two replicas of ${uid} on one node`);
    const now = this.#world.replicas.configuration(uid);
    assert(
      (configuration.configuration?.epoch ?? 0) <= (now?.epoch ?? Infinity),
      `${node} is told of an epoch of ${uid} that nobody has begun`,
    );
  }

  acknowledgeCreate(uid: string): void {
    this.#created.add(uid);
  }
  noteRemoveAsked(uid: string): void {
    this.#removeAsked.add(uid);
  }
  acknowledgeRemove(uid: string): void {
    this.#removed.add(uid);
  }

  /** Uids that were promised and must be there: created, and not removed by anybody. */
  promised(): string[] {
    return [...this.#created].filter((uid) => !this.#removeAsked.has(uid) && !this.#deleted.has(uid));
  }

  checkCommit({ revision, issuer, changes }: Commit): void {
    if (issuer.by.startsWith("c") && !["lead", "depose", "renew"].includes(issuer.kind)) {
      const leader = this.#world.store.get(keys.leader);
      const holder = leader && LeaderRecord.parse(JSON.parse(leader.value)).holder;
      assert(holder === issuer.by, `${issuer.by} changed the store while ${holder} led`);
    }
    for (const { key, before, after } of changes) {
      if (issuer.kind === "undrain")
        this.#undrainedMs.set(key.slice(keys.nodes.length), this.#world.sim.nowMs);
      if (key.endsWith("/configuration")) {
        assert(
          issuer.by === "replicas" || !after,
          `${issuer.by} ${issuer.kind}s a configuration: replicas alone do`,
        );
      }
      if (isInstance(key)) this.#checkInstance(issuer.kind, instance(before), instance(after));
      else if (key.startsWith(keys.ports)) {
        const port = Number(key.slice(keys.ports.length));
        const uid = after ? PortRecord.parse(JSON.parse(after.value)).uid : null;
        const owners = this.#owners.get(port) ?? [];
        owners.push({ revision, uid });
        this.#owners.set(port, owners);
      }
    }
    if (changes.some(({ key }) => isInstance(key) || key.startsWith(keys.ports))) this.#checkPorts();
  }

  /** A controller's transaction as it leaves: what the controller claims to know must be so. */
  checkSent(controller: Controller, kind: TxnKind, txn: Txn, nowMs: number): void {
    const key = txn.if[0]!.key;
    const up = new Set(controller.nodeViews(nowMs).flatMap((node) => (node.state === "up" ? [node.id] : [])));
    if (kind === "node-remove") {
      const id = key.slice(keys.nodes.length);
      const placed = this.#instances().filter(
        (record) => record.placement.includes(id) || record.replicas.includes(id),
      );
      assert(placed.length === 0, `node ${id} is removed while ${placed[0]?.uid} is placed on it`);
    } else if (kind === "delete") {
      const view = controller.instanceView("default", key.slice(keys.instances("default").length));
      if (view) this.#upAtDelete.set(view.uid, up);
      for (const id of up) {
        const process = view && this.#world.machines.get(id)?.containers.get(view.uid);
        assert(!process, `${key} is deleted while its container runs on ${id}, which is up`);
      }
    } else if (kind === "place") {
      const current = this.#world.store.get(key);
      // Decided on an older version: it will be refused.
      if (current?.modRevision !== txn.if[0]!.value) return;
      const { uid, spec, placement } = changedBy(txn);
      const before = instance(current)?.placement ?? [];
      const serving = this.#longServing(uid).filter(({ id }) => up.has(id) && !this.#isLeaving(id));
      const others = placement.filter((id) => this.#readyOn.has(`${uid}@${id}`)).length;
      for (const { id } of serving.filter(({ id }) => before.includes(id) && !placement.includes(id))) {
        assert(
          others >= spec.nodes,
          `${uid} is taken off ${id}, which is up, before ${spec.nodes} others serve`,
        );
      }
    }
  }

  /**
   * What a node is told leads to containers of the right instance only; and a leader that has just taken over takes
   * nothing out of service that it may merely not have heard of.
   */
  checkDesired({ revision, routes, containers, replicas, node }: Desired, termAgeMs: number): void {
    for (const { port, uid, upstreams } of routes) {
      const owner = this.#owners.get(port)?.findLast((o) => o.revision <= revision)?.uid;
      assert(owner === uid, `port ${port} is led to ${uid}, and ${owner} had it at r${revision}`);
      for (const upstream of upstreams) {
        const real = this.#incarnations.get(upstream.incarnation);
        const same = real?.uid === uid && real.node === upstream.node && real.port === upstream.port;
        assert(
          same,
          `port ${port} of ${uid} leads to ${JSON.stringify(upstream)}, which is ${JSON.stringify(real)}`,
        );
      }
      if (termAgeMs >= 1_900) continue;
      for (const { id, process } of this.#longServing(uid)) {
        const named = upstreams.some((upstream) => upstream.incarnation === process.incarnation);
        assert(named, `a new leader leaves the container of ${uid} on ${id} out of port ${port}`);
      }
    }
    const uids = containers.map((container) => container.uid);
    assert(new Set(uids).size === uids.length, `${node.id} is to run an instance twice`);
    this.#checkNamed(node.id, revision, new Set(replicas.map((spec) => spec.uid)));
  }

  /** As of its revision, a Desired names every replica of its node that is wanted or in sync. */
  #checkNamed(node: string, revision: number, named: ReadonlySet<string>): void {
    const { table } = this.#world.store;
    if (revision <= table.compacted) return;
    const at = (prefix: string) => table.list(prefix, "", Infinity, revision);
    for (const kv of at(keys.instances("default"))) {
      const { uid, spec, desired, replicas } = InstanceRecord.parse(JSON.parse(kv.value));
      if (!spec.state || desired === "removed" || named.has(uid)) continue;
      assert(!replicas.includes(node), `${node} is not told of its replica of ${uid}`);
      const state = at(keys.state("default", uid)).map(
        (row) => JSON.parse(row.value) as Record<string, unknown>,
      );
      const configuration = state.find((row) => "configuration" in row)?.["configuration"];
      const disk = state.find((row) => row["node"] === node)?.["disk"];
      const counted = (configuration as Configuration | undefined)?.inSync.includes(String(disk)) ?? false;
      assert(!counted, `${node} is not told of its replica of ${uid}, which is in sync`);
    }
  }

  /** Placed containers that have been ready for so long that every leader has had the time to hear of it. */
  #longServing(uid: string): { id: string; process: ContainerProcess }[] {
    const placement = this.#instances().find((record) => record.uid === uid)?.placement ?? [];
    return placement.flatMap((id) => {
      const machine = this.#world.machines.get(id);
      const process = machine?.containers.get(uid);
      if (!machine || process?.state !== "ready") return [];
      const readyMs = this.#world.sim.nowMs - (this.#incarnations.get(process.incarnation)?.readyMs ?? 0);
      return readyMs > 8_000 && machine.host.running && !machine.host.paused ? [{ id, process }] : [];
    });
  }

  #instances(): InstanceRecord[] {
    return this.#world.store
      .range(keys.instances("default"))
      .map((kv) => InstanceRecord.parse(JSON.parse(kv.value)));
  }

  #checkInstance(kind: string, before: InstanceRecord | null, after: InstanceRecord | null): void {
    const { sim } = this.#world;
    if (before && before.uid !== after?.uid) {
      assert(before.desired === "removed", `${before.uid} was deleted without having been removed`);
      this.#deleted.add(before.uid);
    }
    if (!after) return;
    const { uid, placement, spec, phase } = after;
    assert(!this.#deleted.has(uid), `${uid} came back after its deletion`);
    if (this.#removed.has(uid)) assert(after.desired === "removed", `${uid} came back after its removal`);
    assert(new Set(placement).size === placement.length, `${uid} is placed twice on a node`);
    if (before?.placement.join() !== placement.join()) {
      const draining = placement.filter((id) => this.#wasDraining(id)).length;
      const excess = placement.length - spec.nodes;
      assert(excess <= draining, `${uid} is placed on ${placement.join(" ")}, and asks for ${spec.nodes}`);
    }
    if (before?.desired === "running" && after.desired === "removed" && kind !== "removed") {
      assert(before.phase === "creating", `${uid} was rolled back after it was established`);
      assert(after.failure !== null, `${uid} was removed by nobody and for no reason`);
      if (after.failure?.reason === "container-failed") {
        assert(
          this.#failedForGood.has(uid),
          `${uid} was rolled back, but no container of it failed for good`,
        );
        sim.count("rollback:container");
      } else sim.count("rollback:port");
    }
    if (before?.phase === "creating" && phase === "established") this.#checkEstablished(after);
    if (kind === "place" && before) this.#countMoves(before, after);
    if (before && before.placement.length > 0) this.#checkReplicas(before, after);
  }

  #checkReplicas(before: InstanceRecord, after: InstanceRecord): void {
    const { sim } = this.#world;
    const { uid, replicas, spec } = after;
    assert(new Set(replicas).size === replicas.length, `${uid} has two replicas on a node`);
    assert(spec.state !== null || replicas.length === 0, `${uid} keeps no state and has replicas`);
    for (const id of before.replicas.filter((node) => !replicas.includes(node))) {
      sim.count(this.#isDraining(id) ? "replica:moved off a draining node" : "replica:replaced a gone one");
    }
  }

  #checkEstablished({ uid, placement, spec }: InstanceRecord): void {
    assert(placement.length >= spec.nodes, `${uid} is established with too few nodes`);
    for (const node of placement) {
      assert(this.#readyOn.has(`${uid}@${node}`), `${uid} is established, but was never ready on ${node}`);
      for (const { port } of spec.publish) {
        assert(
          this.#portOpened.has(`${uid}:${port}@${node}`),
          `${uid} is established, but ${node} has not opened ${port}`,
        );
      }
    }
  }

  #countMoves(before: InstanceRecord, after: InstanceRecord): void {
    const { sim } = this.#world;
    const added = after.placement.filter((id) => !before.placement.includes(id));
    const dropped = before.placement.filter((id) => !after.placement.includes(id));
    if (before.placement.length === 0) sim.count("move:placed");
    if (after.phase !== "established") return;
    if (added.length > 0 && dropped.some((id) => !this.#isDraining(id)))
      sim.count("move:replaced a lost node");
    if (dropped.some((id) => this.#isDraining(id))) sim.count("move:drained");
    if (after.placement.length > after.spec.nodes) sim.count("move:overlap of a drain");
  }

  /** Now, or so lately that a decision under way could not know better. */
  #wasDraining(id: string): boolean {
    return this.#isDraining(id) || this.#world.sim.nowMs - (this.#undrainedMs.get(id) ?? -Infinity) < 5_000;
  }

  #isLeaving(id: string): boolean {
    const kv = this.#world.store.get(keys.node(id));
    return !kv || NodeRecord.parse(JSON.parse(kv.value)).leaving;
  }

  #isDraining(id: string): boolean {
    const kv = this.#world.store.get(keys.node(id));
    if (!kv) return true;
    const node = NodeRecord.parse(JSON.parse(kv.value));
    return node.leaving || !node.schedulable;
  }

  /** Each port of each instance is its own, and no other port is taken. */
  #checkPorts(): void {
    const { store } = this.#world;
    const owners = new Map(
      store.range(keys.ports).map((kv) => [kv.key, PortRecord.parse(JSON.parse(kv.value)).uid]),
    );
    for (const { uid, spec } of this.#instances()) {
      for (const { port } of spec.publish) {
        const key = keys.port(port);
        assert(owners.get(key) === uid, `${uid} publishes ${port}, which ${owners.get(key)} has`);
        owners.delete(key);
      }
    }
    assert(owners.size === 0, `ports without an instance: ${[...owners.keys()].join(" ")}`);
  }
}

function instance(kv: KeyValue | null): InstanceRecord | null {
  return kv && InstanceRecord.parse(JSON.parse(kv.value));
}

function changedBy(txn: Txn): InstanceRecord {
  const put = txn.then.find((operation) => operation.type === "put" && isInstance(operation.key));
  return InstanceRecord.parse(JSON.parse((put as { value: string }).value));
}

function assert(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Error(`invariant broken: ${message}`);
}
