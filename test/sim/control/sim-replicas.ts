/**
 * The replicas of instances' OS state, as the controllers meet them: state processes that register, agree on a
 * configuration in the store, take over and take in by rules that are simpler than the real ones (test/sim/replica has
 * those), and data that must not go while anybody counts on it.
 */
import { ConfigurationRecord, InstanceRecord, keys, ReplicaRecord } from "../../../core/records.ts";
import type { Configuration } from "../../../core/replica/configuration.ts";
import type { KeyValue } from "../../../core/store/store.ts";
import type { ControlWorld } from "./control-world.ts";
import type { SimMachine } from "./sim-machine.ts";

/** Data of a replica on a machine's disk, and the process that has it open. */
export interface SimReplica {
  uid: string;
  disk: string;
  incarnation: string | null;
  /** Simulated time at which it has copied everything; Infinity while it has not begun to. */
  copiedAtMs: number;
}

const stepMs = 150;

export class SimReplicas {
  readonly #world: ControlWorld;

  constructor(world: ControlWorld) {
    this.#world = world;
    const step = () => {
      this.#step();
      world.sim.after(stepMs, step);
    };
    world.sim.after(stepMs, step);
  }

  /** Nodes whose disks are in sync now, alive or not. */
  inSync(uid: string): Set<string> {
    const configuration = this.configuration(uid);
    const nodes = this.registered(uid).filter((r) => configuration?.inSync.includes(r.disk));
    return new Set(nodes.map((r) => r.node));
  }

  configuration(uid: string): Configuration | null {
    return parse(this.#world.store.get(keys.configuration("default", uid)))?.configuration ?? null;
  }

  registered(uid: string): ReplicaRecord[] {
    const prefix = keys.replica("default", uid, "");
    return this.#world.store.range(prefix).map((kv) => ReplicaRecord.parse(JSON.parse(kv.value)));
  }

  /** Whether the process that was registered last runs. */
  isAlive({ node, incarnation }: ReplicaRecord, uid: string): boolean {
    const machine = this.#world.machines.get(node);
    const up = machine !== undefined && machine.host.running && !machine.host.paused;
    return up && machine.replicas.get(uid)?.incarnation === incarnation;
  }

  #step(): void {
    const { store } = this.#world;
    for (const kv of store.range(keys.instances("default"))) {
      const record = InstanceRecord.parse(JSON.parse(kv.value));
      if (record.spec.state) this.#agree(record);
    }
  }

  /** What the members of one instance would do next. */
  #agree(record: InstanceRecord): void {
    const { uid } = record;
    const { sim } = this.#world;
    const now = this.configuration(uid);
    const registered = this.registered(uid);
    const alive = registered.filter((replica) => this.isAlive(replica, uid));
    if (!now) {
      const first = alive.find((replica) => replica.node === record.replicas[0]);
      if (first) this.#propose(uid, first, { epoch: 1, inSync: [first.disk] });
      return;
    }
    const members = alive.filter((replica) => now.inSync.includes(replica.disk));
    const primary = members.find(
      (r) => r.disk === now.primary.disk && r.incarnation === now.primary.incarnation,
    );
    if (!primary) {
      if (members.length === 0) return;
      sim.count("replica:took over");
      const next = sim.random.pick(members);
      return this.#propose(uid, next, { epoch: now.epoch + 1, inSync: members.map((r) => r.disk) });
    }
    const learned = alive.filter((r) => record.replicas.includes(r.node) && this.#hasCopied(r, uid));
    const inSync = [...new Set([...members, ...learned].map((r) => r.disk))].sort();
    if (inSync.join() !== now.inSync.join()) this.#propose(uid, primary, { epoch: now.epoch, inSync });
  }

  #hasCopied({ node }: ReplicaRecord, uid: string): boolean {
    const { sim, machines } = this.#world;
    const replica = machines.get(node)!.replicas.get(uid)!;
    if (replica.copiedAtMs === Infinity) replica.copiedAtMs = sim.nowMs + sim.random.between(200, 2_500);
    return replica.copiedAtMs <= sim.nowMs;
  }

  #propose(uid: string, { disk, incarnation }: ReplicaRecord, of: { epoch: number; inSync: string[] }): void {
    const { store, sim } = this.#world;
    const key = keys.configuration("default", uid);
    const kv = store.get(key);
    const configuration = { ...of, inSync: of.inSync.sort(), generation: 1, primary: { disk, incarnation } };
    const version = (parse(kv)?.version ?? 0) + 1;
    const value = { version, configuration: { ...configuration, changeId: sim.random.id() }, changes: [] };
    store.txn(
      {
        if: [{ key, target: "mod", op: "=", value: kv?.modRevision ?? 0 }],
        then: [{ type: "put", key, value: JSON.stringify(value) }],
      },
      { by: "replicas", kind: "configure" },
    );
  }
}

/** What the agent of a machine does for its replicas. */
export class SimStateAgent {
  readonly #machine: SimMachine;
  readonly #busy = new Set<string>();

  constructor(machine: SimMachine) {
    this.#machine = machine;
  }

  /** One look at what is wanted; `hasContainer`: it writes until its end. */
  reconcile(
    wanted: ReadonlyMap<string, { instance: string; run: boolean }>,
    hasContainer: (uid: string) => boolean,
  ): void {
    const { replicas, world } = this.#machine;
    const { random } = world.sim;
    for (const [uid, { instance, run }] of wanted) {
      const replica = replicas.get(uid);
      if (run && !replica?.incarnation)
        this.#later(uid, random.between(5, 200), () => this.#start(uid, instance));
      if (run && replica?.incarnation) this.#register(uid, instance, replica);
      if (!run && replica?.incarnation && !hasContainer(uid)) {
        world.sim.count("replica:stopped and kept");
        this.#later(uid, random.between(5, 200), () => this.#stop(uid));
      }
    }
    for (const [uid, replica] of replicas) {
      if (wanted.has(uid)) continue;
      if (replica.incarnation) this.#later(uid, random.between(5, 200), () => this.#stop(uid));
      else this.#maybeRemove(uid);
    }
  }

  #later(uid: string, delayMs: number, run: () => void): void {
    if (this.#busy.has(uid)) return;
    this.#busy.add(uid);
    this.#machine.agentHost.after(delayMs, () => {
      this.#busy.delete(uid);
      run();
    });
  }

  #start(uid: string, instance: string): void {
    const { replicas, world, id } = this.#machine;
    const { sim } = world;
    const known = replicas.get(uid);
    if (known?.incarnation) return;
    if (known) sim.count("replica:started again on its data");
    const replica = known ?? { uid, disk: hexOf(sim.random.id()), incarnation: null, copiedAtMs: Infinity };
    replica.incarnation = sim.random.id();
    replica.copiedAtMs = Infinity;
    replicas.set(uid, replica);
    sim.log(`${id} starts the state of ${uid}, disk ${replica.disk.slice(0, 6)}`);
    this.#register(uid, instance, replica);
    this.#machine.agent?.changed();
  }

  #stop(uid: string): void {
    const replica = this.#machine.replicas.get(uid);
    if (replica) replica.incarnation = null;
    this.#machine.agent?.changed();
  }

  /** Until the store has it; compares the instance, as core/coordinator/replicas does. */
  #register(uid: string, instance: string, { disk, incarnation }: SimReplica): void {
    const { world, agentHost, id } = this.#machine;
    const { store } = world;
    const key = keys.replica("default", uid, id);
    const register = () => {
      const record = parseInstance(store.get(keys.instance("default", instance)));
      const kv = store.get(key);
      if (record?.uid !== uid || !(kv || record.replicas.includes(id))) return;
      const value: ReplicaRecord = {
        ...{ node: id, disk, incarnation: incarnation!, unix: "", host: id, port: 1, exits: [] },
      };
      const text = JSON.stringify(value);
      if (kv?.value === text) return;
      store.txn({ if: [], then: [{ type: "put", key, value: text }] }, { by: id, kind: "register" });
    };
    if (store.get(key)?.value.includes(incarnation!)) return;
    store.request(agentHost, register, () => undefined);
  }

  /** Asks first: what it was told may be old. */
  #maybeRemove(uid: string): void {
    if (this.#busy.has(uid)) return;
    this.#busy.add(uid);
    const { world, agentHost, id, replicas } = this.#machine;
    const replica = replicas.get(uid)!;
    const gone = () => isGone(world, uid, id, replica.disk);
    world.store.request(agentHost, gone, (answer) => {
      this.#busy.delete(uid);
      if (!answer || replicas.get(uid) !== replica || replica.incarnation) return;
      if (this.#machine.agent?.wantsReplica(uid)) return;
      this.#machine.removeReplica(uid);
    });
    // The question may be lost.
    agentHost.after(1_000, () => this.#busy.delete(uid));
  }
}

/** As ReplicaStore.isGone. */
export function isGone({ store, replicas }: ControlWorld, uid: string, node: string, disk: string): boolean {
  const record = store
    .range(keys.instances("default"))
    .map((kv) => InstanceRecord.parse(JSON.parse(kv.value)))
    .find((instance) => instance.uid === uid);
  if (!record || record.desired === "removed") return true;
  if (record.replicas.includes(node)) return false;
  return !(replicas.configuration(uid)?.inSync.includes(disk) ?? false);
}

function parse(kv: KeyValue | null): ConfigurationRecord | null {
  return kv && ConfigurationRecord.parse(JSON.parse(kv.value));
}

function parseInstance(kv: KeyValue | null): InstanceRecord | null {
  return kv && InstanceRecord.parse(JSON.parse(kv.value));
}

/** 32 hex digits of any text. */
function hexOf(text: string): string {
  return Array.from(text, (c) => c.charCodeAt(0).toString(16))
    .join("")
    .padEnd(32, "0")
    .slice(0, 32);
}
