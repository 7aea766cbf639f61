/** The table in SQLite: statements of `schema.ts`'s tables, and commits that say what became of them. */
import { Buffer } from "node:buffer";
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { MiB } from "../../limits.ts";
import { prefixEnd, type Change, type ChangesPage, type LeaseRow, type Table } from "../local/table.ts";
import { StoreError, type KeyValue } from "../store.ts";
import { openDatabase, type Connect, type Database, type Statement } from "./database.ts";
import { isFull, isSqliteError } from "./sqlite-errors.ts";

/** Below this much free space people are warned: a store of thousands of records has some ten MiB. */
const freeBytesWarn = 100 * MiB;

interface VersionRow {
  revision: number;
  key: string;
  value: Uint8Array | null;
  created: number;
  version: number;
  lease: number | null;
}

const columns = "revision, key, value, created, version, lease";
const statements = {
  current: `SELECT ${columns} FROM version WHERE key = ? AND superseded IS NULL`,
  listNow: `SELECT ${columns} FROM version
    WHERE key >= ? AND key > ? AND key < ? AND superseded IS NULL AND value IS NOT NULL ORDER BY key LIMIT ?`,
  listAt: `SELECT ${columns} FROM version
    WHERE key >= ? AND key > ? AND key < ? AND revision <= ?4 AND (superseded IS NULL OR superseded > ?4)
      AND value IS NOT NULL ORDER BY key LIMIT ?5`,
  changes: `SELECT ${columns} FROM version
    WHERE revision >= ? AND key >= ? AND key < ? ORDER BY revision, key LIMIT ?`,
  changesOf: `SELECT ${columns} FROM version WHERE revision = ? AND key >= ? AND key < ? ORDER BY key`,
  supersede: "UPDATE version SET superseded = ? WHERE key = ? AND superseded IS NULL",
  insert: "INSERT INTO version (revision, key, value, created, version, lease) VALUES (?, ?, ?, ?, ?, ?)",
  leases: "SELECT id, ttl FROM lease ORDER BY id",
  lease: "SELECT id FROM lease WHERE id = ?",
  attached: `SELECT key FROM version
    WHERE lease = ? AND lease IS NOT NULL AND superseded IS NULL AND value IS NOT NULL ORDER BY key`,
  addLease: "INSERT INTO lease (ttl) VALUES (?)",
  removeLease: "DELETE FROM lease WHERE id = ?",
  counter: "SELECT revision, compacted FROM counter",
  saveCounter: "UPDATE counter SET revision = ?, compacted = ?",
  dropSuperseded: `DELETE FROM version WHERE rowid IN
    (SELECT rowid FROM version WHERE superseded IS NOT NULL AND superseded <= ? LIMIT ?)`,
  dropDeleted: `DELETE FROM version WHERE rowid IN
    (SELECT rowid FROM version WHERE value IS NULL AND revision <= ? AND superseded IS NULL LIMIT ?)`,
} as const;

export class SqliteTable implements Table {
  readonly driver = "sqlite";
  revision = 0;
  compacted = 0;
  readonly #path: string;
  readonly #connect: Connect;
  #db!: Database;
  #sql!: Record<keyof typeof statements, Statement>;

  constructor(path: string, connect: Connect) {
    this.#path = path;
    this.#connect = connect;
    this.#open();
  }

  get(key: string): KeyValue | null {
    const row = this.#sql.current.get(key) as VersionRow | undefined;
    return row ? kvOf(row) : null;
  }

  list(prefix: string, after: string, limit: number, revision: number): KeyValue[] {
    const bounds = [prefix, after, prefixEnd(prefix)] as const;
    const rows = Number.isFinite(limit) ? limit : -1;
    const found =
      revision === this.revision
        ? this.#sql.listNow.all(...bounds, rows)
        : this.#sql.listAt.all(...bounds, revision, rows);
    return (found as VersionRow[]).map((row) => kvOf(row)!);
  }

  changes(prefix: string, fromRevision: number, rows: number): ChangesPage {
    const bounds = [prefix, prefixEnd(prefix)] as const;
    let found = this.#sql.changes.all(fromRevision, ...bounds, rows) as VersionRow[];
    let through = this.revision;
    if (found.length >= rows) {
      // The last revision may be cut: leave it to the next page, unless it is the only one.
      const last = found.at(-1)!.revision;
      if (found[0]!.revision < last) {
        found = found.filter((row) => row.revision < last);
        through = last - 1;
      } else {
        found = this.#sql.changesOf.all(last, ...bounds) as VersionRow[];
        through = last;
      }
    }
    const changes = found.map((row): Change => ({ revision: row.revision, key: row.key, kv: kvOf(row) }));
    return { changes, through };
  }

  atomically(writer: () => void): void {
    const { revision, compacted } = this;
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      writer();
      if (this.revision !== revision || this.compacted !== compacted) {
        this.#sql.saveCounter.run(this.revision, this.compacted);
      }
    } catch (e) {
      this.#undo(revision, compacted);
      throw isSqliteError(e) ? this.#refusal(e) : e;
    }
    try {
      this.#db.exec("COMMIT");
    } catch (e) {
      this.#undo(revision, compacted);
      if (isFull(e)) throw this.#refusal(e);
      // The log may hold the whole transaction although its fsync failed; only reading it again can tell.
      this.#reopen();
      throw new StoreError(
        "UNKNOWN_OUTCOME",
        `The write to the store ${this.#path} failed at its commit: ${messageOf(e)}. Check the disk.`,
        e,
      );
    }
  }

  put(kv: KeyValue): void {
    const { key, createRevision, modRevision, version, lease } = kv;
    this.#sql.supersede.run(modRevision, key);
    const value = Buffer.from(kv.value);
    this.#sql.insert.run(
      modRevision,
      key,
      value,
      createRevision,
      version,
      lease === null ? null : BigInt(lease),
    );
    this.revision = modRevision;
  }

  delete(key: string, revision: number): void {
    this.#sql.supersede.run(revision, key);
    this.#sql.insert.run(revision, key, null, 0, 0, null);
    this.revision = revision;
  }

  leases(): LeaseRow[] {
    const rows = this.#sql.leases.all() as { id: number; ttl: number }[];
    return rows.map(({ id, ttl }) => ({ id: String(id), ttlSeconds: ttl }));
  }
  hasLease(id: string): boolean {
    return this.#sql.lease.get(BigInt(id)) !== undefined;
  }
  attached(lease: string): string[] {
    return (this.#sql.attached.all(BigInt(lease)) as { key: string }[]).map((row) => row.key);
  }
  addLease(ttlSeconds: number): string {
    return String(this.#sql.addLease.run(ttlSeconds).lastInsertRowid);
  }
  removeLease(id: string): void {
    this.#sql.removeLease.run(BigInt(id));
  }

  setCompacted(revision: number): void {
    this.compacted = revision;
  }
  dropCompacted(rows: number): boolean {
    const superseded = Number(this.#sql.dropSuperseded.run(this.compacted, rows).changes);
    const deleted = Number(this.#sql.dropDeleted.run(this.compacted, rows).changes);
    return superseded === rows || deleted === rows;
  }

  warnings(): string[] {
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    const free = bavail * bsize;
    if (free >= freeBytesWarn) return [];
    return [`The disk of the store ${this.#path} has ${Math.floor(free / MiB)} MiB left.`];
  }

  close(): void {
    this.#db.close();
  }

  #open(): void {
    this.#db = openDatabase(this.#path, this.#connect);
    const prepared = Object.entries(statements).map(([name, sql]) => [name, this.#db.prepare(sql)] as const);
    this.#sql = Object.fromEntries(prepared) as Record<keyof typeof statements, Statement>;
    this.#load();
  }

  #reopen(): void {
    this.#db.close();
    this.#open();
  }

  #load(): void {
    const row = this.#sql.counter.get() as { revision: number; compacted: number };
    this.revision = row.revision;
    this.compacted = row.compacted;
  }

  #undo(revision: number, compacted: number): void {
    try {
      this.#db.exec("ROLLBACK");
    } catch {
      // SQLite has rolled back by itself.
    }
    this.revision = revision;
    this.compacted = compacted;
  }

  /** A write that certainly did not happen. */
  #refusal(cause: unknown): StoreError {
    if (!isFull(cause)) {
      return new StoreError(
        "UNAVAILABLE",
        `Cannot write to the store ${this.#path}: ${messageOf(cause)}.`,
        cause,
      );
    }
    return new StoreError(
      "NO_SPACE",
      `Cannot write to the store ${this.#path}: its disk is full. Free some space there; it then goes on by itself.`,
      cause,
    );
  }
}

function kvOf(row: VersionRow): KeyValue | null {
  if (row.value === null) return null;
  const { key, value, revision, created, version, lease } = row;
  return {
    key,
    value: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString(),
    createRevision: created,
    modRevision: revision,
    version,
    lease: lease === null ? null : String(lease),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
