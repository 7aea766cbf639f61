/**
 * The database of a store: one table of versions. The current version of a key has `superseded` null; a deletion is
 * a version whose value is null. Values are blobs, because text ends at a NUL in one of our runtimes.
 */
import { DvsError } from "../../errors.ts";
import type { Database } from "./database.ts";

/** "dvs1": tells this file from any other SQLite database. */
const applicationId = 0x64767331;
const schemaVersion = 1;

const tables = `
  CREATE TABLE version (
    revision   INTEGER NOT NULL,
    key        TEXT NOT NULL,
    value      BLOB,
    created    INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    lease      INTEGER,
    superseded INTEGER
  ) STRICT;
  CREATE UNIQUE INDEX version_current ON version (key) WHERE superseded IS NULL;
  CREATE INDEX version_by_key ON version (key, revision);
  CREATE INDEX version_by_revision ON version (revision, key);
  CREATE INDEX version_by_lease ON version (lease, key) WHERE lease IS NOT NULL AND superseded IS NULL;
  CREATE INDEX version_superseded ON version (superseded) WHERE superseded IS NOT NULL;
  CREATE INDEX version_deleted ON version (revision) WHERE value IS NULL;
  CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl INTEGER NOT NULL) STRICT;
  CREATE TABLE counter (revision INTEGER NOT NULL, compacted INTEGER NOT NULL) STRICT;
  INSERT INTO counter VALUES (1, 0);
`;

/** Creates the tables in an empty database; refuses one that is not a store, or a newer dvs's. */
export function prepareSchema(db: Database, path: string): void {
  const id = pragma(db, "application_id");
  const version = pragma(db, "user_version");
  if (id === applicationId && version === schemaVersion) return;
  if (id === applicationId && version > schemaVersion) {
    throw new DvsError(
      "INVALID",
      `Cannot open the store ${path}: it has format ${version}, this dvs knows ${schemaVersion}. Use the dvs that wrote it.`,
    );
  }
  const { n } = db.prepare("SELECT count(*) AS n FROM sqlite_master").get() as { n: number };
  if (id !== 0 || n > 0) {
    throw new DvsError(
      "INVALID",
      `Cannot open the store ${path}: it is a database of something else. Choose another path.`,
    );
  }
  db.exec(`
    BEGIN IMMEDIATE;
    ${tables}
    PRAGMA application_id = ${applicationId};
    PRAGMA user_version = ${schemaVersion};
    COMMIT;
  `);
}

function pragma(db: Database, name: "application_id" | "user_version"): number {
  return Number((db.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[name]);
}
