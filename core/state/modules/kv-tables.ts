/**
 * Tables of the key-value, and how those of a backup take their places.
 *
 * A restored key has the revision of the record with which the restore began, which no key had before: a compare-and-set
 * that goes by a revision from before is refused. Changes are not restored: who watches is told to list the keys, and
 * begins behind the highest revision, which may be that one. Leases get their full time again, as after a takeover.
 */
import { kvKeyBytesMax, kvLeaseKeysMax, kvLeaseTtlMsMax, kvValueBytesMax } from "../../limits.ts";
import { ModuleRefusal, type RestoredTable, type RestoreRules, type StateTables } from "../module.ts";

const lease = /^[A-Za-z0-9-]{1,64}$/;
const utf8 = new TextDecoder("utf-8", { fatal: true });

const entry: RestoredTable = {
  name: "kv_entry",
  columns: ["key", "value", "revision", "lease"],
  create: (name, tag) => `
    CREATE TABLE ${name} (
      key      BLOB PRIMARY KEY,
      value    BLOB NOT NULL,
      revision INTEGER NOT NULL,
      lease    TEXT
    ) STRICT;
    CREATE INDEX kv_entry_by_lease${tag} ON ${name} (lease, key) WHERE lease IS NOT NULL;
  `,
  take([key, value, , of], { begun }) {
    if (!(key instanceof Uint8Array) || key.length < 1 || key.length > kvKeyBytesMax || !isText(key))
      throw new ModuleRefusal(`a key has to be text of 1 to ${kvKeyBytesMax} bytes`);
    if (!(value instanceof Uint8Array) || value.length > kvValueBytesMax)
      throw new ModuleRefusal(`a value has at most ${kvValueBytesMax} bytes`);
    if (of === null) return [key, value, begun, null];
    return [key, value, begun, leaseOf(of)];
  },
};

const leases: RestoredTable = {
  name: "kv_lease",
  columns: ["lease", "ttl", "ends"],
  create: (name, tag) => `
    CREATE TABLE ${name} (lease TEXT PRIMARY KEY, ttl INTEGER NOT NULL, ends INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX kv_lease_by_end${tag} ON ${name} (ends);
  `,
  take([of, ttl], { timeMs }) {
    if (typeof ttl !== "number" || ttl < 1 || ttl > kvLeaseTtlMsMax)
      throw new ModuleRefusal(`a lease lasts at most ${kvLeaseTtlMsMax} ms`);
    return [leaseOf(of), ttl, timeMs + ttl];
  },
};

const changes: RestoredTable = {
  name: "kv_change",
  columns: ["revision", "position", "key", "value"],
  create: (name) => `
    CREATE TABLE ${name} (
      revision INTEGER NOT NULL,
      position INTEGER NOT NULL, -- Within the record.
      key      BLOB NOT NULL,
      value    BLOB,
      PRIMARY KEY (revision, position)
    ) STRICT, WITHOUT ROWID;
  `,
};

const counter = `
  CREATE TABLE kv_counter (
    serving   INTEGER NOT NULL, -- When the present primary began, by the time of records.
    forgotten INTEGER NOT NULL, -- Changes up to this revision are gone.
    changes   INTEGER NOT NULL, -- That are kept,
    bytes     INTEGER NOT NULL  -- and their keys and values.
  ) STRICT;
  INSERT INTO kv_counter VALUES (0, 0, 0, 0);
`;

/** Made by the first restore. The last one: where its keys' revision is in the order of changes. */
const mark = `
  CREATE TABLE IF NOT EXISTS kv_restored (begun INTEGER NOT NULL, record INTEGER NOT NULL) STRICT;
  DELETE FROM kv_restored;
`;

const restored = [entry, leases, changes];

export const kvTables = restored.map(({ name, create }) => create(name, "")).join("") + counter;

/** Made by the first loss: revisions between two were given to records that were given up. */
const lost = `
  CREATE TABLE IF NOT EXISTS kv_lost (after INTEGER PRIMARY KEY, record INTEGER NOT NULL) STRICT;
`;
function hasLost(db: StateTables): boolean {
  return db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'kv_lost'").get() !== undefined;
}

/** Nobody has the records behind `after` any more; `record` is the next. */
export function addLoss(db: StateTables, after: number, record: number): void {
  db.exec(lost);
  db.prepare("INSERT INTO kv_lost VALUES (?, ?)").run(after, record);
}

export function isLost(db: StateTables, revision: number): boolean {
  if (!hasLost(db)) return false;
  return db.prepare("SELECT 1 FROM kv_lost WHERE after < ?1 AND ?1 < record").get(revision) !== undefined;
}

export function* losses(db: StateTables): Iterable<[after: number, record: number]> {
  if (!hasLost(db)) return;
  for (const row of db.prepare("SELECT after, record FROM kv_lost ORDER BY after").iterate())
    yield [Number(row["after"]), Number(row["record"])];
}

/** Null: this state never was restored. */
export function lastRestore(db: StateTables): { begun: number; record: number } | null {
  if (!db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'kv_restored'").get()) return null;
  return (db.prepare("SELECT begun, record FROM kv_restored").get() ?? null) as ReturnType<
    typeof lastRestore
  >;
}

export const kvRestore: RestoreRules = {
  tables: restored,
  restored(db, { begun, index, timeMs }) {
    db.exec(mark);
    db.prepare("INSERT INTO kv_restored VALUES (?, ?)").run(begun, index);
    db.prepare("UPDATE kv_counter SET serving = ?, forgotten = ?, changes = 0, bytes = 0").run(timeMs, index);
  },
  problem(backup) {
    const crowded = backup
      .prepare("SELECT 1 FROM kv_entry WHERE lease IS NOT NULL GROUP BY lease HAVING count(*) > ? LIMIT 1")
      .get(kvLeaseKeysMax);
    if (crowded) return `a lease has more than ${kvLeaseKeysMax} keys`;
    const orphan = backup
      .prepare(
        "SELECT 1 FROM kv_entry e WHERE lease IS NOT NULL AND NOT EXISTS (SELECT 1 FROM kv_lease l WHERE l.lease = e.lease) LIMIT 1",
      )
      .get();
    return orphan ? "a key goes with a lease that is not there" : null;
  },
};

function leaseOf(value: unknown): string {
  if (typeof value === "string" && lease.test(value)) return value;
  throw new ModuleRefusal("the name of a lease is 1 to 64 letters, digits and -");
}

function isText(bytes: Uint8Array): boolean {
  try {
    utf8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
