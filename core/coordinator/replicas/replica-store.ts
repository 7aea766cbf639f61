/**
 * Configurations of instances' OS state and registrations of their state processes, in the store. Each call works on
 * what the store holds and on nothing else: any coordinator may serve it, whether it leads or not, and a compare-and-set
 * decides between two of them.
 *
 * An answer of the store that was lost is settled here (core/store/settle.ts); an answer of ours that was lost is found
 * again by the change's id, so that a proposal may be sent as often as one likes.
 */
import type { z } from "zod";
import type { ChangeAnswer, ReplicaExit, ReplicaRegistration, StateOf } from "../../agent-protocol.ts";
import { replicaSetOf } from "../../control/replica-sets.ts";
import { DvsError } from "../../errors.ts";
import { changeIdsKept, changeSettleMs, exitsKept } from "../../limits.ts";
import { ConfigurationRecord, InstanceRecord, keys, NodeRecord, ReplicaRecord } from "../../records.ts";
import type { Change, Configuration, Versioned } from "../../replica/configuration.ts";
import type { ReplicaSet } from "../../state/replica-set.ts";
import { settleTxn } from "../../store/settle.ts";
import { type Compare, type KeyValue, type Operation, type Store, StoreError } from "../../store/store.ts";
import { refusalOf } from "./change-rules.ts";

/** What the store holds of an instance's OS state at one revision. */
interface Held {
  generation: number;
  revision: number;
  kv: KeyValue | null;
  record: ConfigurationRecord | null;
  replicas: { kv: KeyValue; record: ReplicaRecord }[];
}

export class ReplicaStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** All that there is to know, as of now. Rejects with NOT_FOUND for an instance that is gone or keeps no state. */
  async read(of: StateOf): Promise<ReplicaSet> {
    const { record } = await this.#instance(of);
    return this.#setOf(record, await this.#held(of.tenant, of.uid));
  }

  /**
   * Carries a change out, iff generation and version are still those that it names. Rejects with what the store rejects
   * with where nothing was done, so that another coordinator may be asked; `unknown` when its answer was lost.
   */
  async change(node: string, { tenant, uid }: StateOf, change: Change): Promise<ChangeAnswer> {
    try {
      for (;;) {
        const held = await this.#held(tenant, uid);
        const told = judge(held, change) ?? judgeMember(held, change.configuration, node);
        if (told) return told;
        if (await this.#put(tenant, uid, node, held, change.configuration))
          return { outcome: "done", reason: "" };
        // The configuration has changed, or the proposer's registration has.
      }
    } catch (e) {
      if (!(e instanceof StoreError) || e.code !== "UNKNOWN_OUTCOME") throw e;
      return { outcome: "unknown", reason: e.message };
    }
  }

  /**
   * A node has started a state process. Rejects with NOT_FOUND for an instance that is gone, FORBIDDEN where no replica
   * is wanted on the node, CONFLICT for a process whose end was certified.
   */
  async register(node: string, of: ReplicaRegistration): Promise<void> {
    const { tenant, uid, disk, incarnation, unix, port } = of;
    const key = keys.replica(tenant, uid, node);
    for (;;) {
      const { kv: instance, record } = await this.#instance(of);
      const kv = await this.#store.get(key);
      const old = kv && parse(ReplicaRecord, kv);
      // What is in sync is registered already, also where it is not wanted any more.
      if (!old && !record.replicas.includes(node)) {
        throw new DvsError("FORBIDDEN", `No replica of instance "${record.name}" is wanted on node ${node}.`);
      }
      if (old?.exits.some((exit) => exit.incarnation === incarnation)) {
        throw new DvsError(
          "CONFLICT",
          `Cannot register state process ${incarnation}: its end was certified.`,
        );
      }
      const host = await this.#addressOf(node);
      const next: ReplicaRecord = { node, disk, incarnation, unix, host, port, exits: old?.exits ?? [] };
      if (await this.#replace(key, kv, next, [sameInstance(instance)])) return;
    }
  }

  /**
   * Whether the data of the node's replica may go: the instance is gone or is being removed, or the replica is neither
   * wanted nor in sync. Who asks runs no process on it, so it does not come back into the set meanwhile.
   */
  async isGone(node: string, { tenant, instance, uid }: StateOf): Promise<boolean> {
    const kv = await this.#store.get(keys.instance(tenant, instance));
    const record = kv && parse(InstanceRecord, kv);
    if (record?.uid !== uid || record.desired === "removed") return true;
    if (record.replicas.includes(node)) return false;
    const held = await this.#held(tenant, uid);
    const disk = held.replicas.find((replica) => replica.record.node === node)?.record.disk;
    return disk === undefined || !(held.record?.configuration.inSync.includes(disk) ?? false);
  }

  /** A state process has ended for certain. Rejects with NOT_FOUND where the node has registered none. */
  async certify(node: string, { tenant, uid, disk, incarnation }: ReplicaExit): Promise<void> {
    const key = keys.replica(tenant, uid, node);
    for (;;) {
      const kv = await this.#store.get(key);
      if (!kv) throw new DvsError("NOT_FOUND", `Node ${node} has registered no replica of instance ${uid}.`);
      const old = parse(ReplicaRecord, kv);
      if (old.exits.some((exit) => exit.incarnation === incarnation)) return;
      const exits = [...old.exits, { node, disk, incarnation }].slice(-exitsKept);
      if (await this.#replace(key, kv, { ...old, exits })) return;
    }
  }

  /**
   * Makes the replica on a node the only one that counts: what others have and it has not is lost. For a person who has
   * accepted that; no member has proposed it. Rejects with CONFLICT where nothing is registered there, or the
   * configuration is not of `version` any more.
   */
  async recover(
    { tenant, uid }: StateOf,
    { node, version, epoch, changeId }: { node: string; version: number; epoch: number; changeId: string },
    also: readonly Operation[],
  ): Promise<{ configuration: Configuration; revision: number }> {
    const held = await this.#held(tenant, uid);
    const own = held.replicas.find(({ record }) => record.node === node);
    if (!own)
      throw new DvsError(
        "CONFLICT",
        `Node ${node} has registered no replica of this instance: start it first.`,
      );
    if ((held.record?.version ?? 0) !== version) throw changedMeanwhile();
    const { disk, incarnation } = own.record;
    const { generation } = held;
    const configuration = { epoch, primary: { disk, incarnation }, generation, inSync: [disk], changeId };
    const key = keys.configuration(tenant, uid);
    const value = JSON.stringify(nextRecord(held.record, configuration));
    const { succeeded, revision } = await settleTxn(
      this.#store,
      {
        if: [unchanged(key, held.kv), unchanged(own.kv.key, own.kv)],
        then: [{ type: "put", key, value }, ...also],
      },
      { timeoutMs: changeSettleMs },
    );
    if (!succeeded) throw changedMeanwhile();
    return { configuration, revision };
  }

  /** False when it was not the same any more. */
  async #put(
    tenant: string,
    uid: string,
    node: string,
    { kv, record, replicas }: Held,
    configuration: Configuration,
  ): Promise<boolean> {
    const own = replicas.find((replica) => replica.record.node === node)!;
    const next = nextRecord(record, configuration);
    return this.#replace(keys.configuration(tenant, uid), kv, next, [unchanged(own.kv.key, own.kv)]);
  }

  async #replace(
    key: string,
    old: KeyValue | null,
    value: ConfigurationRecord | ReplicaRecord,
    also: Compare[] = [],
  ): Promise<boolean> {
    const text = JSON.stringify(value);
    if (old?.value === text) return true;
    const { succeeded } = await settleTxn(
      this.#store,
      { if: [unchanged(key, old), ...also], then: [{ type: "put", key, value: text }] },
      { timeoutMs: changeSettleMs },
    );
    return succeeded;
  }

  async #held(tenant: string, uid: string): Promise<Held> {
    const generation = await this.#store.generation();
    const { kvs, revision } = await this.#store.range(keys.state(tenant, uid));
    const kv = kvs.find(({ key }) => key === keys.configuration(tenant, uid)) ?? null;
    const replicas = kvs.filter((other) => other !== kv);
    return {
      generation,
      revision,
      kv,
      record: kv && parse(ConfigurationRecord, kv),
      replicas: replicas.map((replica) => ({ kv: replica, record: parse(ReplicaRecord, replica) })),
    };
  }

  async #instance({ tenant, instance, uid }: StateOf): Promise<{ kv: KeyValue; record: InstanceRecord }> {
    const kv = await this.#store.get(keys.instance(tenant, instance));
    const record = kv && parse(InstanceRecord, kv);
    if (!kv || record?.uid !== uid) throw new DvsError("NOT_FOUND", `There is no instance ${uid}.`);
    return { kv, record };
  }

  async #addressOf(node: string): Promise<string> {
    const kv = await this.#store.get(keys.node(node));
    if (!kv) throw new DvsError("NOT_FOUND", `Node ${node} is not in this cluster.`);
    return parse(NodeRecord, kv).address;
  }

  #setOf(record: InstanceRecord, held: Held): ReplicaSet {
    const { generation, revision } = held;
    const replicas = held.replicas.map((replica) => replica.record);
    const set = replicaSetOf({ record, configuration: versionedOf(held), replicas, revision });
    if (set) return set;
    throw new DvsError(
      "NOT_FOUND",
      `Instance "${record.name}" keeps no OS state (generation ${generation}).`,
    );
  }
}

function nextRecord(record: ConfigurationRecord | null, configuration: Configuration): ConfigurationRecord {
  return {
    version: (record?.version ?? 0) + 1,
    configuration,
    changes: [...(record?.changes ?? []), configuration.changeId].slice(-changeIdsKept),
  };
}

function changedMeanwhile(): DvsError {
  return new DvsError(
    "CONFLICT",
    "The replicas have agreed on something else meanwhile. Look again: dvs instance inspect",
  );
}

function judge(held: Held, { generation, version, configuration }: Change): ChangeAnswer | null {
  if (generation !== held.generation) {
    return refused(
      `it was made for generation ${generation} of the store, which has generation ${held.generation}`,
    );
  }
  if (configuration.generation !== generation) {
    return refused(
      `it is written for generation ${configuration.generation} of the store, not ${generation}`,
    );
  }
  const { record } = held;
  if (record?.changes.includes(configuration.changeId)) return { outcome: "done", reason: "" };
  const now = record?.version ?? 0;
  const writtenFor = record?.configuration.generation ?? generation;
  if (writtenFor !== generation) {
    return refused(
      `the store was restored or copied, and the configuration in it is of generation ${writtenFor}: ` +
        `its primary, if it serves, is written down anew; else somebody has to choose, by dvs instance recover`,
    );
  }
  return version === now ? null : refused(`it was made for version ${version}, and version ${now} is there`);
}

function judgeMember(held: Held, next: Configuration, node: string): ChangeAnswer | null {
  const registered = held.replicas.map(({ record }) => record);
  const refusal = refusalOf(next, held.record?.configuration ?? null, node, registered);
  return refusal === null ? null : refused(refusal);
}

function refused(reason: string): ChangeAnswer {
  return { outcome: "refused", reason };
}

function versionedOf({ generation, record }: Held): Versioned {
  return { generation, version: record?.version ?? 0, configuration: record?.configuration ?? null };
}

function unchanged(key: string, kv: KeyValue | null): Compare {
  return kv
    ? { key, target: "mod", op: "=", value: kv.modRevision }
    : { key, target: "create", op: "=", value: 0 };
}

/** Not removed, and not made again under its name. */
function sameInstance({ key, createRevision }: KeyValue): Compare {
  return { key, target: "create", op: "=", value: createRevision };
}

function parse<T>(schema: z.ZodType<T>, { key, value }: KeyValue): T {
  const parsed = schema.safeParse(JSON.parse(value));
  if (parsed.success) return parsed.data;
  throw new DvsError("INTERNAL", `Cannot read ${key} of the store: is it of another version of dvs?`, {
    cause: parsed.error,
  });
}
