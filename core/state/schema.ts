/**
 * Tables of a replica's database that belong to no module. Values of clients and modules are blobs or names without
 * NUL, because text ends at a NUL in one of our runtimes.
 */
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { DvsError } from "../errors.ts";
import type { StateModule } from "./module.ts";

/** In a replica's data directory. */
export const databaseName = "state.db";
/** Of segments (core/blocks), in a replica's data directory. */
export function blocksDir(dataDir: string): string {
  return join(dataDir, "blocks");
}
/** "dvsS": tells this file from any other SQLite database. */
export const applicationId = 0x64767353;
/** 2: newest results of a client are in its row. */
export const schemaVersion = 2;

const tables = `
  CREATE TABLE applied (record INTEGER NOT NULL, epoch INTEGER NOT NULL, time INTEGER NOT NULL) STRICT;
  INSERT INTO applied VALUES (0, 0, 0);
  CREATE TABLE session (client TEXT PRIMARY KEY, acked_below INTEGER NOT NULL, recent BLOB) STRICT, WITHOUT ROWID;
  CREATE TABLE session_result (
    client   TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    result   BLOB NOT NULL,
    record   INTEGER NOT NULL,
    PRIMARY KEY (client, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE removed_client (position INTEGER PRIMARY KEY AUTOINCREMENT, client TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE module (name TEXT PRIMARY KEY, level INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`;

/**
 * Of the block store: how many bytes each segment has that is needed. Databases from before blocks do not have it, and
 * need it no sooner than all replicas know of it.
 */
const segmentTable = `CREATE TABLE IF NOT EXISTS segment (number INTEGER PRIMARY KEY, length INTEGER NOT NULL) STRICT;`;

/** Creates what is missing. Throws INVALID for a file of something else, or a newer dvs's. */
export function prepareSchema(db: DatabaseSync, path: string, modules: readonly StateModule[]): void {
  const id = pragma(db, "application_id");
  const version = pragma(db, "user_version");
  if (id !== applicationId && (id !== 0 || count(db, "sqlite_master") > 0)) {
    throw new DvsError("INVALID", `Cannot open the state ${path}: it is a database of something else.`);
  }
  if (id === applicationId && version > schemaVersion) {
    throw new DvsError(
      "INVALID",
      `Cannot open the state ${path}: it has format ${version}, this dvs knows ${schemaVersion}. Use the dvs that wrote it.`,
    );
  }
  db.exec("BEGIN IMMEDIATE");
  if (id === 0) {
    db.exec(`${tables} PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion};`);
  }
  if (id === applicationId && version < 2) {
    db.exec("ALTER TABLE session ADD COLUMN recent BLOB; PRAGMA user_version = 2;");
  }
  db.exec(segmentTable);
  for (const module of modules) {
    const known = db.prepare("SELECT 1 FROM module WHERE name = ?").get(module.name);
    if (known) continue;
    module.create(db);
    // In force once a record says so.
    db.prepare("INSERT INTO module VALUES (?, 0)").run(module.name);
  }
  db.exec("COMMIT");
}

function count(db: DatabaseSync, table: string): number {
  return (db.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n;
}

function pragma(db: DatabaseSync, name: "application_id" | "user_version"): number {
  return Number((db.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[name]);
}
