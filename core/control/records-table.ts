/**
 * The records that the controllers work on, as the watch has shown them: instances, nodes and ports, with the
 * indices that keep a step small. Pure machine.
 *
 * Each key follows its own revisions, so that separate watches per prefix and repeated batches do no harm.
 */
import type { z } from "zod";
import {
  ConfigurationRecord,
  InstanceRecord,
  keys,
  NodeRecord,
  PortRecord,
  ReplicaRecord,
} from "../records.ts";
import type { KeyValue, WatchEvent } from "../store/store.ts";

export interface InstanceEntry {
  /** The record's key in the store: what everything else refers to an instance by. */
  key: string;
  record: InstanceRecord;
  modRevision: number;
}

export interface NodeEntry {
  key: string;
  record: NodeRecord;
  modRevision: number;
}

/** What the store holds of an instance's OS state. */
export interface StateEntry {
  configuration: { key: string; record: ConfigurationRecord; modRevision: number } | null;
  /** Node → the state process that it registered last. */
  replicas: Map<string, { key: string; record: ReplicaRecord; modRevision: number }>;
}

/** What a batch changed. */
export interface RecordChanges {
  instances: Set<string>;
  nodes: Set<string>;
  /** Gone, or replaced by a namesake with another uid. */
  removedInstances: InstanceEntry[];
  removedNodes: NodeRecord[];
  /** Records that have become unreadable. */
  unreadable: string[];
  /** Some node has room for a container more than before. */
  placesFreed: boolean;
}

const stateKey = /^\/t\/[^/]+\/s\/([^/]+)\/(configuration$|r\/(.+)$)/;
const instanceKey = /^\/t\/[^/]+\/i\/[^/]+$/;

export class RecordsTable {
  /** The newest revision seen. */
  revision = 0;
  readonly instances = new Map<string, InstanceEntry>();
  readonly nodes = new Map<string, NodeEntry>();
  readonly ports = new Map<number, PortRecord & { modRevision: number }>();
  /** Uid of each instance → its key. */
  readonly byUid = new Map<string, string>();
  /** Keys that hold what this version cannot read → why. */
  readonly unreadable = new Map<string, string>();
  /** Uid → who keeps its OS state; also before and after its instance is known. */
  readonly states = new Map<string, StateEntry>();
  readonly #placedOn = new Map<string, Set<string>>();
  readonly #replicasOn = new Map<string, Set<string>>();

  /** Keys of the instances whose placement names the node. */
  placedOn(node: string): ReadonlySet<string> {
    return this.#placedOn.get(node) ?? new Set();
  }

  /** Keys of the instances of which a replica is wanted on the node. */
  replicasOn(node: string): ReadonlySet<string> {
    return this.#replicasOn.get(node) ?? new Set();
  }

  /** Whether some readable form of the key is known. */
  known(key: string): boolean {
    if (this.instances.has(key) || [...this.nodes.values()].some((node) => node.key === key)) return true;
    const [, uid = "", what, node = ""] = stateKey.exec(key) ?? [];
    const state = this.states.get(uid);
    return what === "configuration" ? Boolean(state?.configuration) : (state?.replicas.has(node) ?? false);
  }

  applySnapshot(revision: number, kvs: readonly KeyValue[]): RecordChanges {
    const present = new Set(kvs.map((kv) => kv.key));
    const events: WatchEvent[] = [];
    for (const key of this.#keys()) if (!present.has(key)) events.push({ type: "delete", key, kv: null });
    for (const kv of kvs) events.push({ type: "put", key: kv.key, kv });
    return this.applyChanges(revision, events);
  }

  applyChanges(revision: number, events: readonly WatchEvent[]): RecordChanges {
    const changes: RecordChanges = {
      instances: new Set(),
      nodes: new Set(),
      removedInstances: [],
      removedNodes: [],
      unreadable: [],
      placesFreed: false,
    };
    for (const event of events) {
      if (instanceKey.test(event.key)) this.#applyInstance(event, revision, changes);
      else if (stateKey.test(event.key)) this.#applyState(event, revision, changes);
      else if (event.key.startsWith(keys.nodes)) this.#applyNode(event, revision, changes);
      else if (event.key.startsWith(keys.ports)) this.#applyPort(event, revision, changes);
    }
    this.revision = Math.max(this.revision, revision);
    return changes;
  }

  #applyInstance({ key, kv }: WatchEvent, revision: number, changes: RecordChanges): void {
    const old = this.instances.get(key);
    if (old && old.modRevision >= (kv?.modRevision ?? revision)) return;
    const record = kv ? this.#parse(InstanceRecord, kv, changes) : null;
    if (kv && !record) return;
    this.unreadable.delete(key);
    changes.instances.add(key);
    if (old) {
      for (const node of old.record.replicas) this.#replicasOn.get(node)?.delete(key);
      for (const node of old.record.placement) {
        this.#placedOn.get(node)?.delete(key);
        changes.placesFreed ||= !record?.placement.includes(node);
      }
      if (old.record.uid !== record?.uid) {
        this.byUid.delete(old.record.uid);
        changes.removedInstances.push(old);
      }
    }
    if (!kv || !record) {
      this.instances.delete(key);
      return;
    }
    this.instances.set(key, { key, record, modRevision: kv.modRevision });
    this.byUid.set(record.uid, key);
    for (const node of record.placement) put(this.#placedOn, node, key);
    for (const node of record.replicas) put(this.#replicasOn, node, key);
  }

  #applyState({ key, kv }: WatchEvent, revision: number, changes: RecordChanges): void {
    const [, uid = "", what, node = ""] = stateKey.exec(key)!;
    const state = this.states.get(uid) ?? { configuration: null, replicas: new Map() };
    const old = what === "configuration" ? state.configuration : state.replicas.get(node);
    if (old && old.modRevision >= (kv?.modRevision ?? revision)) return;
    if (what === "configuration") {
      const record = kv ? this.#parse(ConfigurationRecord, kv, changes) : null;
      if (kv && !record) return;
      state.configuration = kv && record ? { key, record, modRevision: kv.modRevision } : null;
    } else {
      const record = kv ? this.#parse(ReplicaRecord, kv, changes) : null;
      if (kv && !record) return;
      if (kv && record) state.replicas.set(node, { key, record, modRevision: kv.modRevision });
      else state.replicas.delete(node);
    }
    this.unreadable.delete(key);
    if (state.configuration || state.replicas.size > 0) this.states.set(uid, state);
    else this.states.delete(uid);
    const instance = this.byUid.get(uid);
    if (instance !== undefined) changes.instances.add(instance);
  }

  #applyNode({ key, kv }: WatchEvent, revision: number, changes: RecordChanges): void {
    const id = key.slice(keys.nodes.length);
    const old = this.nodes.get(id);
    if (old && old.modRevision >= (kv?.modRevision ?? revision)) return;
    const record = kv ? this.#parse(NodeRecord, kv, changes) : null;
    if (kv && !record) return;
    this.unreadable.delete(key);
    changes.nodes.add(id);
    if (kv && record) {
      this.nodes.set(id, { key, record, modRevision: kv.modRevision });
    } else if (old) {
      this.nodes.delete(id);
      changes.removedNodes.push(old.record);
    }
  }

  #applyPort({ key, kv }: WatchEvent, revision: number, changes: RecordChanges): void {
    const port = Number(key.slice(keys.ports.length));
    const old = this.ports.get(port);
    if (old && old.modRevision >= (kv?.modRevision ?? revision)) return;
    const record = kv ? this.#parse(PortRecord, kv, changes) : null;
    if (kv && record) this.ports.set(port, { ...record, modRevision: kv.modRevision });
    else if (!kv) this.ports.delete(port);
  }

  /** A record that cannot be read keeps its last readable form, and is named in `unreadable`. */
  #parse<T>(schema: z.ZodType<T>, kv: KeyValue, changes: RecordChanges): T | null {
    const parsed = schema.safeParse(jsonOf(kv.value));
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    if (!this.unreadable.has(kv.key)) changes.unreadable.push(kv.key);
    this.unreadable.set(kv.key, `${issue?.path.join(".") || "record"}: ${issue?.message}`);
    return null;
  }

  *#keys(): Iterable<string> {
    yield* this.instances.keys();
    for (const id of this.nodes.keys()) yield keys.node(id);
    for (const port of this.ports.keys()) yield keys.port(port);
    for (const { configuration, replicas } of this.states.values()) {
      if (configuration) yield configuration.key;
      for (const { key } of replicas.values()) yield key;
    }
    yield* this.unreadable.keys();
  }
}

/** Undefined for what is no JSON. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function put(index: Map<string, Set<string>>, node: string, key: string): void {
  const on = index.get(node) ?? new Set();
  index.set(node, on.add(key));
}
