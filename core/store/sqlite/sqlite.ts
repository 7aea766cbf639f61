/**
 * The store in one SQLite file, the default: for one coordinator. A write is on the disk when its promise resolves
 * (write-ahead log, synchronous=FULL); all writes that arrive within one turn of the event loop share one fsync.
 *
 * The commit blocks the event loop for that fsync. A coordinator can afford it: heartbeats never write.
 */
import { setImmediate } from "node:timers";
import { systemClock, type Clock } from "../clock.ts";
import { enforce } from "../enforce.ts";
import { LocalStore } from "../local/local-store.ts";
import type { Store } from "../store.ts";
import { connectSqlite, type Connect } from "./database.ts";
import { SqliteTable } from "./sqlite-table.ts";

export interface SqliteOptions {
  clock?: Clock;
  connect?: Connect;
}

/** Throws DvsError CONFLICT when another process has the file open. */
export function openSqliteStore(path: string, options: SqliteOptions = {}): Store {
  const { clock = systemClock, connect = connectSqlite } = options;
  const table = new SqliteTable(path, connect);
  return enforce(new LocalStore(table, { clock, schedule: (commit) => void setImmediate(commit) }));
}
