/**
 * The records of one instance's kernels, in the store and in memory. A record is a key of its own, put only if it is
 * not there: its create revision is its place in the order. What the store's watch shows is appended here, so that
 * also a write whose answer was lost, or which an earlier coordinator sent, takes its place.
 *
 * Places are revisions of one generation of the store. Once it was restored they say nothing any more, nor does what
 * kernels have read: the log begins anew with an empty View, which kernels join as new ones.
 *
 * When every kernel has read the oldest records they are folded: one transaction puts the View after them as
 * `snapshot` and deletes them, so that what is stored is at any moment a snapshot and all records after it.
 */
import { DvsError } from "../../errors.ts";
import { RecordHistory } from "../../kernel/record-history.ts";
import { Generation, KernelRecordSchema, ViewSnapshotSchema } from "../../kernel/record-schema.ts";
import { ViewMachine } from "../../kernel/view-machine.ts";
import type { KernelRecord } from "../../kernel/view.ts";
import { foldedIdsKept, recordsKept, recordsPerFold, storeValueBytesMax } from "../../limits.ts";
import { keys } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { Compare, KeyValue, Operation, Store, WatchBatch } from "../../store/store.ts";
import { z } from "zod";

/** What `snapshot` holds: the View, and the last ids that are in it, oldest first. */
const StoredSnapshot = z.object({
  view: ViewSnapshotSchema,
  ids: z.array(z.tuple([z.string(), z.number().int()])),
  /** Of the store when it was written. */
  generation: Generation.default(1),
});
type StoredSnapshot = z.infer<typeof StoredSnapshot>;

/** Shorter than an agent waits: what the store did not tell by then has an unknown outcome. */
const settleMs = 1_500;

export interface KernelLogOptions {
  store: Store;
  /** Holds as long as this coordinator acts. */
  leader: Compare;
  tenant: string;
  uid: string;
  /** Of the store. */
  generation: number;
}

export class KernelLog {
  readonly tenant: string;
  readonly history: RecordHistory;
  readonly #options: KernelLogOptions;
  /** Index of each record that is kept, and of the last that were folded. */
  readonly #indexOf = new Map<string, number>();
  #folded: [id: string, index: number][] = [];
  /** Revision of the `snapshot` key, 0 without one. */
  #snapshotRevision: number;
  #folding = false;

  /** Rejects with a StoreError; INVALID when what is stored is of another version. */
  static async open(options: KernelLogOptions): Promise<KernelLog> {
    const { store, tenant, uid } = options;
    const { kvs } = await store.range(keys.kernel(tenant, uid));
    const snapshotKey = keys.kernelSnapshot(tenant, uid);
    const kv = kvs.find(({ key }) => key === snapshotKey);
    const stored = kv ? parse(StoredSnapshot, kv) : null;
    if ((stored?.generation ?? 1) !== options.generation) {
      await clear(
        options,
        kvs.map(({ key }) => key).filter((key) => key !== snapshotKey),
      );
      return KernelLog.open(options);
    }
    const log = new KernelLog(options, stored, kv?.modRevision ?? 0);
    const records = kvs.filter(({ key }) => key !== snapshotKey);
    for (const record of records.sort((a, b) => a.createRevision - b.createRevision)) log.#append(record);
    return log;
  }

  private constructor(options: KernelLogOptions, stored: StoredSnapshot | null, revision: number) {
    this.#options = options;
    this.tenant = options.tenant;
    this.history = new RecordHistory(stored?.view);
    this.#folded = stored?.ids ?? [];
    this.#snapshotRevision = revision;
    for (const [id, index] of this.#folded) this.#indexOf.set(id, index);
  }

  /** Of a record that was ordered before. */
  indexOf(id: string): number | undefined {
    return this.#indexOf.get(id);
  }

  /**
   * Resolves with the record's index. Proposed again under its id it is ordered once. Rejects with UNAVAILABLE when
   * it was not ordered, OUTCOME_UNKNOWN when it may be, or may become so.
   */
  async put(id: string, record: KernelRecord): Promise<number> {
    const { store, leader, tenant, uid } = this.#options;
    const key = keys.kernelRecord(tenant, uid, id);
    const result = await settleTxn(
      store,
      {
        if: [leader, { key, target: "create", op: "=", value: 0 }],
        then: [{ type: "put", key, value: JSON.stringify(record) }],
        else: [{ type: "get", key }],
      },
      { timeoutMs: settleMs },
    );
    if (result.succeeded) return result.revision;
    const there = result.results[0];
    if (there) return there.createRevision;
    throw new DvsError("UNAVAILABLE", "This coordinator does not act any more: another has taken over.");
  }

  /** A revision that the watch has shown. True when there are new records. */
  apply(batch: WatchBatch): boolean {
    let grown = false;
    for (const { kv } of batch.events) {
      if (kv && !kv.key.endsWith("/snapshot")) grown = this.#append(kv) || grown;
    }
    return grown;
  }

  /** Folds the oldest of the records up to `index`, which nobody needs any more, once there are many. */
  async maybeFold(index: number): Promise<void> {
    const { store, leader, tenant, uid, generation } = this.#options;
    const count = Math.min(recordsPerFold, this.history.length - recordsKept, this.history.countUpTo(index));
    if (this.#folding || count < recordsPerFold) return;
    this.#folding = true;
    try {
      const { snapshot: view, records } = this.history.prefix(count);
      const folded = records.map(({ id, index: at }): [string, number] => [id, at]);
      const ids = [...this.#folded, ...folded].slice(-foldedIdsKept);
      const key = keys.kernelSnapshot(tenant, uid);
      const value = JSON.stringify({ view, ids, generation } satisfies StoredSnapshot);
      // Then they stay one by one: it is the store that would refuse them.
      if (value.length > storeValueBytesMax / 2) return;
      const result = await settleTxn(store, {
        if: [leader, { key, target: "mod", op: "=", value: this.#snapshotRevision }],
        then: [
          { type: "put", key, value },
          ...records.map(({ id }): Operation => ({
            type: "delete",
            key: keys.kernelRecord(tenant, uid, id),
          })),
        ],
      });
      if (!result.succeeded) return;
      this.#snapshotRevision = result.revision;
      this.history.fold(view.index);
      const forgotten = [...this.#folded, ...folded].slice(0, -ids.length);
      for (const [id] of forgotten) this.#indexOf.delete(id);
      this.#folded = ids;
    } finally {
      this.#folding = false;
    }
  }

  #append(kv: KeyValue): boolean {
    const record = parse(KernelRecordSchema, kv);
    const id = kv.key.slice(kv.key.lastIndexOf("/") + 1);
    if (!this.history.append({ index: kv.createRevision, id, record })) return false;
    this.#indexOf.set(id, kv.createRevision);
    return true;
  }
}

/** Everything goes; what stays is an empty View of this generation. The last transaction says that all is done. */
async function clear(
  { store, leader, tenant, uid, generation }: KernelLogOptions,
  recordKeys: readonly string[],
): Promise<void> {
  const value = JSON.stringify({
    view: new ViewMachine().snapshot(),
    ids: [],
    generation,
  } satisfies StoredSnapshot);
  const operations: Operation[] = [
    ...recordKeys.map((key): Operation => ({ type: "delete", key })),
    { type: "put", key: keys.kernelSnapshot(tenant, uid), value },
  ];
  for (let at = 0; at < operations.length; at += recordsPerFold) {
    const then = operations.slice(at, at + recordsPerFold);
    const { succeeded } = await settleTxn(store, { if: [leader], then });
    if (!succeeded) throw new DvsError("UNAVAILABLE", "This coordinator does not act any more.");
  }
}

function parse<T>(schema: z.ZodType<T>, { key, value }: KeyValue): T {
  try {
    return schema.parse(JSON.parse(value));
  } catch (cause) {
    throw new DvsError("INTERNAL", `Cannot read ${key} of the store: is it of another version of dvs?`, {
      cause,
    });
  }
}
