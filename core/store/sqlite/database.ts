/**
 * Opens the database file for one coordinator alone. The exclusive lock is the operating system's: it goes with the
 * process, however that ends. It also goes when this process opens and closes the file by other means, so nobody may
 * read store.db while the coordinator runs (a backup goes through the store: `transfer.ts`).
 */
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { DvsError } from "../../errors.ts";
import { isBusy, isDamaged } from "./sqlite-errors.ts";
import { prepareSchema } from "./schema.ts";

export interface Statement {
  get(...values: SQLInputValue[]): unknown;
  all(...values: SQLInputValue[]): unknown[];
  run(...values: SQLInputValue[]): { changes: number | bigint; lastInsertRowid: number | bigint };
}

/** What the store uses of node:sqlite; a test may stand in between. */
export interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}

export type Connect = (path: string) => Database;

export const connectSqlite: Connect = (path) => new DatabaseSync(path);

/** Throws CONFLICT when another process has it open, INVALID when it is no store, FAILED when it is damaged. */
export function openDatabase(path: string, connect: Connect): Database {
  createPrivately(path);
  const db = connect(path);
  try {
    db.exec("PRAGMA busy_timeout = 0");
    // Before the first access: then the index of the write-ahead log is kept in memory, and nobody else gets in.
    db.prepare("PRAGMA locking_mode = EXCLUSIVE").get();
    db.prepare("PRAGMA journal_mode = WAL").get();
    db.exec("PRAGMA synchronous = FULL");
    prepareSchema(db, path);
    db.exec("BEGIN IMMEDIATE; COMMIT");
    return db;
  } catch (e) {
    db.close();
    throw openingError(path, e);
  }
}

/** The file holds the keys of the cluster's authorities: nobody but its owner may read it. */
function createPrivately(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    closeSync(openSync(path, "ax", 0o600));
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "EEXIST") return;
    const message = e instanceof Error ? e.message : String(e);
    throw new DvsError("FAILED", `Cannot create the store ${path}: ${message}`, { cause: e });
  }
}

function openingError(path: string, cause: unknown): unknown {
  if (cause instanceof DvsError) return cause;
  if (isBusy(cause)) {
    return new DvsError(
      "CONFLICT",
      `Cannot open the store ${path}: another coordinator has it open. Stop that one first; for several coordinators use a store on etcd.`,
      { cause },
    );
  }
  const message = cause instanceof Error ? cause.message : String(cause);
  const advice = isDamaged(cause) ? " The file is damaged: restore a backup." : "";
  return new DvsError("FAILED", `Cannot open the store ${path}: ${message}.${advice}`, { cause });
}
