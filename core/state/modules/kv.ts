/**
 * The module `kv`: keys and values with revisions, compare-and-set, leases and watches, for an instance's VOS.
 *
 * A key's revision is that of the record that last changed it (core/replica/era.ts). Time is that of records: a lease that is not kept
 * within its time, as primaries count it, is ended by the next `expire`, which the primary writes. After a takeover
 * every lease gets its full time again, since clocks of two machines differ.
 */
import { Decoder, Encoder } from "@msgpack/msgpack";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { kvHistoryBytesMax, kvHistoryMax, kvLeaseKeysMax, MiB } from "../../limits.ts";
import {
  type ApplyContext,
  type ColumnValue,
  type EpochContext,
  ModuleRefusal,
  type OpenModule,
  type StateModule,
  type StateStatement,
  type StateTables,
} from "../module.ts";
import { keyBytes, keyText, prefixEnd } from "./kv-keys.ts";
import {
  type KvChange,
  type KvEntry,
  type KvFound,
  KvOperation,
  type KvResult,
  KvWatch,
} from "./kv-messages.ts";
import { checkedOperation, checkedQuery, readEncodedPut, textOfPut } from "./kv-quick.ts";
import { KvFollower } from "./kv-follower.ts";
import { addLoss, isLost, kvRestore, kvTables, lastRestore, losses } from "./kv-tables.ts";

/** One statement of so many rows costs two thirds of as many statements. */
const rowsAtOnce = 16;
const rowFields = 4;
const rows = (many: number): string => Array<string>(many).fill("(?, ?, ?, ?)").join(", ");
const putting = (many: number): string => `INSERT INTO kv_entry VALUES ${rows(many)} ON CONFLICT (key)
  DO UPDATE SET value = excluded.value, revision = excluded.revision, lease = excluded.lease`;
const noting = (many: number): string => `INSERT INTO kv_change VALUES ${rows(many)}`;

const statements = {
  get: "SELECT key, value, revision, lease FROM kv_entry WHERE key = ?",
  revision: "SELECT revision FROM kv_entry WHERE key = ?",
  list: `SELECT key, value, revision, lease FROM kv_entry WHERE key >= ?1 AND key > ?2 AND (?3 IS NULL OR key < ?3)
    ORDER BY key LIMIT ?4`,
  put: putting(1),
  putMany: putting(rowsAtOnce),
  delete: "DELETE FROM kv_entry WHERE key = ?",
  lease: "SELECT ttl, ends FROM kv_lease WHERE lease = ?",
  grant: "INSERT INTO kv_lease VALUES (?, ?, ?)",
  keep: "UPDATE kv_lease SET ends = ? WHERE lease = ?",
  endLease: "DELETE FROM kv_lease WHERE lease = ?",
  leaseKeys: "SELECT key FROM kv_entry WHERE lease = ? ORDER BY key",
  leaseCount: "SELECT count(*) AS n FROM kv_entry WHERE lease = ?",
  ended: "SELECT lease, ttl FROM kv_lease WHERE ends <= ? ORDER BY ends, lease LIMIT ?",
  counter: "SELECT serving, forgotten, changes, bytes FROM kv_counter",
  saveCounter: "UPDATE kv_counter SET serving = ?, forgotten = ?, changes = ?, bytes = ?",
  note: noting(1),
  noteMany: noting(rowsAtOnce),
  oldest: `SELECT revision, length(key) + ifnull(length(value), 0) AS bytes
    FROM kv_change ORDER BY revision, position LIMIT ?`,
  newest: "SELECT max(revision) AS revision FROM kv_change",
  forget: "DELETE FROM kv_change WHERE revision <= ?",
  changes:
    "SELECT revision, key, value FROM kv_change WHERE revision > ? ORDER BY revision, position LIMIT ?",
  allEntries: "SELECT key, value, revision, lease FROM kv_entry ORDER BY key",
  allLeases: "SELECT lease, ttl, ends FROM kv_lease ORDER BY lease",
  allChanges: "SELECT revision, position, key, value FROM kv_change ORDER BY revision, position",
} as const;

type Sql = Record<keyof typeof statements, ReturnType<StateTables["prepare"]>>;

interface EntryRow {
  key: Uint8Array;
  value: Uint8Array;
  revision: number;
  lease: string | null;
}

interface Change {
  key: Uint8Array;
  value: Uint8Array | null;
}

interface Counter {
  serving: number;
  forgotten: number;
  changes: number;
  bytes: number;
}

/** Leases that one `expire` ends, as long as they have no more than kvLeaseKeysMax keys in all: bounds its step. */
const expiredPerRecord = 256;
/** Changes that one operation forgets at most; more than one makes. */
const forgottenPerRecord = 4 * kvLeaseKeysMax;
/** Changes, and bytes of them, that are kept beyond kvHistoryMax and kvHistoryBytesMax before the oldest are forgotten. */
const slack = { changes: 256, bytes: 1 * MiB };
/** Below, the oldest went with each change once there were too many bytes: a third of the time of a put of 4 KiB. */
const slackFromLevel = 2;
const noSlack = { changes: 0, bytes: 0 };
const slackOf = (level: number): typeof slack =>
  level >= slackFromLevel ? slack : { changes: slack.changes, bytes: 0 };
/** Values in one answer of a list; what is left is asked for with `after`. */
const listBytesMax = 1 * MiB;

export const kv: StateModule = {
  name: "kv",
  level: 2,
  create: (db) => db.exec(kvTables),
  open: (db) => new Kv(db),
  restore: kvRestore,
};

class Kv implements OpenModule {
  readonly #db: StateTables;
  readonly #sql: Sql;
  readonly #encoder = new Encoder();
  readonly #decoder = new Decoder();
  // Quick puts that are not in the tables yet, as rows of them, and the counter with these; null: there are none.
  #keptPuts: ColumnValue[] = [];
  #keptNotes: ColumnValue[] = [];
  #keptCounter: Counter | null = null;
  /** By the level of the last operation. */
  #slack = noSlack;

  constructor(db: StateTables) {
    this.#db = db;
    const prepared = Object.entries(statements).map(([name, sql]) => [name, db.prepare(sql)] as const);
    this.#sql = Object.fromEntries(prepared) as Sql;
  }

  encode(operation: unknown): Uint8Array {
    const checked = checkedOperation(operation, "operation of the key-value");
    if (
      checked.op === "all" &&
      new Set(checked.changes.map(({ key }) => key)).size < checked.changes.length
    ) {
      throw new DvsError("INVALID", "Cannot change a key twice in one operation of the key-value.");
    }
    return this.#encoder.encode(checked);
  }

  /** A put of whatever is there, without a lease: most writes. */
  applyQuickly(operation: Uint8Array, { index, level }: ApplyContext): KvResult | null {
    const put = readEncodedPut(operation);
    if (!put) return null;
    const key = operation.subarray(put.keyAt, put.keyEnd);
    const value = operation.subarray(put.valueAt);
    this.#slack = slackOf(level);
    const counter = (this.#keptCounter ??= this.#counter());
    this.#keptPuts.push(key, value, index, null);
    this.#keptNotes.push(index, 0, key, value);
    counter.changes++;
    counter.bytes += key.length + value.length;
    // When the oldest changes go is part of the state: with this very record.
    if (isFull(counter, this.#slack)) this.settle();
    return { done: true, revision: index };
  }

  settle(): void {
    const counter = this.#keptCounter;
    if (counter === null) return;
    const puts = this.#keptPuts;
    const notes = this.#keptNotes;
    this.#keptCounter = null;
    this.#keptPuts = [];
    this.#keptNotes = [];
    runRows(puts, this.#sql.put, this.#sql.putMany);
    runRows(notes, this.#sql.note, this.#sql.noteMany);
    if (isFull(counter, this.#slack)) this.#forget(counter);
    this.#count(counter);
  }

  apply(operation: Uint8Array, { index, timeMs, level }: ApplyContext): KvResult {
    this.#slack = slackOf(level);
    const decoded = this.#decode(operation);
    switch (decoded.op) {
      case "put":
      case "delete":
        return this.#all([decoded], index, timeMs);
      case "all":
        return this.#all(decoded.changes, index, timeMs);
      case "grant":
        if (this.#sql.lease.get(decoded.lease)) return { done: false, revision: 0 };
        this.#sql.grant.run(decoded.lease, decoded.ttlMs, timeMs + decoded.ttlMs);
        return { done: true, revision: index };
      case "keep":
        return this.#keep(decoded.lease, index, timeMs);
      case "revoke":
        return this.#revoke(decoded.lease, index);
      case "expire":
        return this.#expire(index, timeMs);
    }
  }

  touched(operation: Uint8Array): readonly string[] | null {
    const put = readEncodedPut(operation);
    if (put) return [textOfPut(operation, put)];
    let decoded: KvOperation;
    try {
      decoded = this.#decode(operation);
    } catch {
      return null; // What cannot be read may mean anything.
    }
    switch (decoded.op) {
      case "put":
      case "delete":
        return [decoded.key];
      case "all":
        return decoded.changes.map(({ key }) => key);
      case "grant":
      case "keep":
        return [];
      default:
        return null;
    }
  }

  epochStarted({ index, timeMs, lostAfter }: EpochContext): void {
    this.#count({ ...this.#counter(), serving: timeMs });
    if (lostAfter !== null) addLoss(this.#db, lostAfter, index);
  }

  due(timeMs: number): Uint8Array | null {
    return this.#endedBy(timeMs).length > 0 ? this.#encoder.encode({ op: "expire" }) : null;
  }

  keysOf(query: unknown): readonly string[] | null {
    const checked = checkedQuery(query, "query of the key-value");
    return checked.get === "key" ? [checked.key] : null;
  }

  read(query: unknown): KvFound {
    this.settle();
    const checked = checkedQuery(query, "query of the key-value");
    if (checked.get === "key") {
      const row = this.#sql.get.get(keyBytes(checked.key)) as EntryRow | undefined;
      return { entries: row ? [entryOf(row)] : [], more: false };
    }
    const { prefix, after, limit } = checked;
    const from = keyBytes(prefix);
    const rows = this.#sql.list.iterate(from, keyBytes(after ?? ""), prefixEnd(from), limit);
    const entries: KvEntry[] = [];
    let bytes = 0;
    for (const row of rows) {
      const entry = entryOf(row as unknown as EntryRow);
      bytes += entry.value.length;
      if (bytes > listBytesMax && entries.length > 0) return { entries, more: true };
      entries.push(entry);
    }
    return { entries, more: false };
  }

  follow(query: unknown): KvFollower {
    this.settle();
    const { prefix, after } = parseOrThrow(KvWatch, query, "watch of the key-value");
    const source = {
      forgotten: () => {
        this.settle();
        return this.#counter().forgotten;
      },
      after: (revision: number, limit: number) => {
        this.settle();
        return this.#sql.changes.all(revision, limit) as unknown as {
          revision: number;
          key: Uint8Array;
          value: Uint8Array | null;
        }[];
      },
    };
    const restore = lastRestore(this.#db);
    if (after !== undefined) this.#checkNotLost(prefix, after);
    const from = restore && after === restore.begun ? restore.record : after;
    return new KvFollower(source, prefix, from ?? this.#lastRevision());
  }

  #checkNotLost(prefix: string, after: number): void {
    if (!isLost(this.#db, after)) return;
    throw new DvsError(
      "CONFLICT",
      `Cannot watch "${prefix}" from revision ${after} on: it was given up with others, as somebody has accepted. List the keys, then watch from now on.`,
    );
  }

  *rows(): Iterable<readonly (string | number | Uint8Array | null)[]> {
    this.settle();
    const { allEntries, allLeases, allChanges, counter } = this.#sql;
    for (const statement of [allEntries, allLeases, allChanges, counter]) {
      for (const row of statement.iterate())
        yield Object.values(row) as (string | number | Uint8Array | null)[];
    }
    const restore = lastRestore(this.#db);
    if (restore) yield Object.values(restore);
    yield* losses(this.#db);
  }

  /** Bytes that a replica has checked and encoded; those of a newer dvs may be none to this one. */
  #decode(operation: Uint8Array): KvOperation {
    let decoded: unknown;
    try {
      decoded = this.#decoder.decode(operation);
    } catch {
      // Refused below.
    }
    const result = KvOperation.safeParse(decoded);
    if (!result.success) throw new ModuleRefusal("this is no operation of the key-value");
    return result.data;
  }

  #all(changes: KvChange[], index: number, timeMs: number): KvResult {
    const keys = changes.map(({ key }) => keyBytes(key));
    for (const [i, change] of changes.entries()) {
      const revision = (this.#sql.revision.get(keys[i]!) as { revision: number } | undefined)?.revision ?? 0;
      const fits = change.ifRevision === undefined || change.ifRevision === revision;
      const missing = change.op === "delete" && revision === 0;
      if (!fits || missing) return { done: false, revision };
      if (change.op === "put" && change.lease !== undefined && !this.#alive(change.lease, timeMs)) {
        return { done: false, revision };
      }
    }
    for (const [i, change] of changes.entries()) {
      if (change.op === "put") {
        this.#sql.put.run(keys[i]!, change.value, index, change.lease ?? null);
        if (change.lease !== undefined) this.#checkRoom(change.lease);
      } else this.#sql.delete.run(keys[i]!);
    }
    this.#note(
      changes.map((change, i) => ({ key: keys[i]!, value: change.op === "put" ? change.value : null })),
      index,
    );
    return { done: true, revision: index };
  }

  #keep(lease: string, index: number, timeMs: number): KvResult {
    const row = this.#alive(lease, timeMs);
    if (!row) return { done: false, revision: 0 };
    this.#sql.keep.run(timeMs + row.ttl, lease);
    return { done: true, revision: index };
  }

  /** Null: there is no such lease, or its time is up. */
  #alive(lease: string, timeMs: number): { ttl: number; ends: number } | null {
    const row = this.#sql.lease.get(lease) as { ttl: number; ends: number } | undefined;
    if (!row) return null;
    return Math.max(row.ends, this.#counter().serving + row.ttl) > timeMs ? row : null;
  }

  #revoke(lease: string, index: number): KvResult {
    if (!this.#sql.lease.get(lease)) return { done: false, revision: 0 };
    this.#note(this.#end(lease), index);
    return { done: true, revision: index };
  }

  #expire(index: number, timeMs: number): KvResult {
    const changes: Change[] = [];
    let ended = 0;
    for (const lease of this.#endedBy(timeMs)) {
      const { n } = this.#sql.leaseCount.get(lease) as { n: number };
      if (changes.length + n > kvLeaseKeysMax && ended > 0) break;
      changes.push(...this.#end(lease));
      ended++;
    }
    this.#note(changes, index);
    return { done: ended > 0, revision: index };
  }

  #end(lease: string): Change[] {
    this.#sql.endLease.run(lease);
    const rows = this.#sql.leaseKeys.all(lease) as { key: Uint8Array }[];
    for (const { key } of rows) this.#sql.delete.run(key);
    return rows.map(({ key }) => ({ key, value: null }));
  }

  #endedBy(timeMs: number): string[] {
    const { serving } = this.#counter();
    const rows = this.#sql.ended.all(timeMs, expiredPerRecord) as { lease: string; ttl: number }[];
    return rows.filter(({ ttl }) => serving + ttl <= timeMs).map(({ lease }) => lease);
  }

  /** A lease ends in one step, so it holds a bounded number of keys. */
  #checkRoom(lease: string): void {
    const { n } = this.#sql.leaseCount.get(lease) as { n: number };
    if (n > kvLeaseKeysMax)
      throw new ModuleRefusal(`lease "${lease}" would hold more than ${kvLeaseKeysMax} keys`);
  }

  /** Keeps the changes of a record, all at once, for watchers; forgets the oldest. */
  #note(changes: Change[], index: number): void {
    const counter = this.#counter();
    for (const [position, { key, value }] of changes.entries()) {
      this.#sql.note.run(index, position, key, value);
      counter.changes++;
      counter.bytes += key.length + (value?.length ?? 0);
    }
    if (isFull(counter, this.#slack)) this.#forget(counter);
    this.#count(counter);
  }

  /** Many at a time: looking for the oldest with each operation would double its cost. */
  #forget(counter: Counter): void {
    for (const row of this.#sql.oldest.iterate(forgottenPerRecord)) {
      const oldest = row as unknown as { revision: number; bytes: number };
      // Changes of one record go together.
      if (!isFull(counter, noSlack) && oldest.revision !== counter.forgotten) break;
      counter.forgotten = oldest.revision;
      counter.bytes -= oldest.bytes;
      counter.changes--;
    }
    this.#sql.forget.run(counter.forgotten);
  }

  #lastRevision(): number {
    const newest = this.#sql.newest.get() as { revision: number | null };
    return newest.revision ?? this.#counter().forgotten;
  }

  #counter(): Counter {
    return this.#sql.counter.get() as unknown as Counter;
  }

  #count({ serving, forgotten, changes, bytes }: Counter): void {
    this.#sql.saveCounter.run(serving, forgotten, changes, bytes);
  }
}

/** Rows one after the other, most of them many at once. */
function runRows(values: readonly ColumnValue[], one: StateStatement, many: StateStatement): void {
  const most = rowsAtOnce * rowFields;
  let at = 0;
  for (; at + most <= values.length; at += most) many.run(...values.slice(at, at + most));
  for (; at < values.length; at += rowFields) one.run(...values.slice(at, at + rowFields));
}

function isFull({ changes, bytes }: Counter, more: typeof slack): boolean {
  return bytes > kvHistoryBytesMax + more.bytes || changes > kvHistoryMax + more.changes;
}

/** Copies: what SQLite gives may be a view of its memory. */
function entryOf({ key, value, revision, lease }: EntryRow): KvEntry {
  return { key: keyText(key), value: value.slice(), revision, ...(lease !== null && { lease }) };
}
