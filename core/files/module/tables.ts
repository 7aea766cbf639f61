/**
 * Tables of a volume. Ids of inodes and contents and cookies of entries come from one counter, so none is given twice.
 *
 * A content is the bytes of one file: an id of its own, so that cutting a file to nothing, or removing it, is one step
 * however large it is: the extents of the old content are taken apart later (reaper.ts). Bytes [start, start + length)
 * of it are in a segment, from `position + lead` on; `checksums` has the CRC-32 of each page of the `bytes` from
 * `position` on, little endian. What no extent has is a hole, and reads as zeros. A negative segment is −(row in
 * files_blob): a file of an image, without checksums here.
 */
export interface Table {
  readonly name: string;
  /** Their types and constraints. */
  readonly columns: Readonly<Record<string, string>>;
  /** Of a table without rowids; missing: a column is its key, or it has one row. */
  readonly key?: string;
  readonly indexes?: readonly Index[];
}
interface Index {
  /** Behind the table's name. */
  readonly by: string;
  readonly on: string;
  readonly isUnique?: boolean;
}

const count = "INTEGER NOT NULL";
const text = "TEXT NOT NULL";

export const tables = {
  inode: {
    name: "files_inode",
    columns: {
      ino: "INTEGER PRIMARY KEY",
      mode: count,
      /** 0: an orphan. */
      nlink: count,
      uid: count,
      gid: count,
      size: count,
      /** Sum of the lengths of its extents. */
      allocated: count,
      atime: count,
      atimeNanos: count,
      mtime: count,
      mtimeNanos: count,
      ctime: count,
      ctimeNanos: count,
      change: count,
      /** Of a directory its parent. */
      content: count,
      /** 1: extents behind the end are still to be taken away. */
      tail: count,
      /** Of a symbolic link. */
      target: "TEXT",
    },
    indexes: [{ by: "content", on: "(content) WHERE content <> ino AND (mode & 61440) = 32768" }],
  },
  entry: {
    name: "files_entry",
    columns: { parent: count, name: text, ino: count, kind: count, cookie: count },
    key: "parent, name",
    indexes: [{ by: "cookie", on: "(parent, cookie)", isUnique: true }],
  },
  extent: {
    name: "files_extent",
    columns: {
      content: count,
      start: count,
      length: count,
      segment: count,
      position: count,
      lead: count,
      bytes: count,
      checksums: "BLOB NOT NULL",
    },
    key: "content, start",
    indexes: [{ by: "segment", on: "(segment) WHERE segment > 0" }],
  },
  /** Sealed ones: the one that is being filled is in files_counter. `live`: sum of the lengths of the extents in it. */
  segment: {
    name: "files_segment",
    columns: { segment: "INTEGER PRIMARY KEY", bytes: count, live: count },
  },
  blob: { name: "files_blob", columns: { row: "INTEGER PRIMARY KEY", digest: "TEXT NOT NULL UNIQUE" } },
  open: {
    name: "files_open",
    columns: { client: text, ino: count },
    key: "client, ino",
    indexes: [{ by: "ino", on: "(ino)" }],
  },
  orphan: {
    name: "files_orphan",
    columns: { ino: "INTEGER PRIMARY KEY", since: count },
    indexes: [{ by: "time", on: "(since, ino)" }],
  },
  /** `type`: 0 flock, 1 posix. `kind`: 1 shared, 2 exclusive. */
  lock: {
    name: "files_lock",
    columns: {
      ...{ ino: count, type: count, client: text, owner: text },
      ...{ start: count, end: count, kind: count, pid: count },
    },
    key: "ino, type, client, owner, start",
    indexes: [{ by: "client", on: "(client, ino)" }],
  },
  /** `place`: in the queue. */
  waiter: {
    name: "files_waiter",
    columns: {
      ...{ place: "INTEGER PRIMARY KEY", ino: count, type: count, client: text, owner: text },
      ...{ start: count, end: count, kind: count, pid: count, ticket: count },
    },
    indexes: [
      { by: "ino", on: "(ino, type, place)" },
      { by: "client", on: "(client, ticket)", isUnique: true },
    ],
  },
  grant: {
    name: "files_grant",
    columns: { client: text, ticket: count, record: count },
    key: "client, ticket",
  },
  offset: {
    name: "files_offset",
    columns: { id: text, ino: count, offset: count },
    key: "id",
    indexes: [{ by: "ino", on: "(ino)" }],
  },
  sharer: {
    name: "files_sharer",
    columns: { client: text, id: text },
    key: "client, id",
    indexes: [{ by: "id", on: "(id)" }],
  },
  attendee: {
    name: "files_attendee",
    columns: { client: text, ttl: count, ends: count },
    key: "client",
    indexes: [{ by: "end", on: "(ends)" }],
  },
  /** What they had is taken step by step. */
  gone: { name: "files_gone", columns: { client: text }, key: "client" },
  seed: { name: "files_seed", columns: { digest: text, entries: count, done: count } },
  /** `ino`: whose end is to be cleared; 0: all of the content goes. */
  reap: { name: "files_reap", columns: { content: "INTEGER PRIMARY KEY", ino: count } },
  counter: {
    name: "files_counter",
    columns: {
      next: count,
      /** Sum of what inodes have allocated, without orphans that nobody has open. */
      bytes: count,
      bytesMax: count,
      inodes: count,
      inodesMax: count,
      /** That is being filled, */
      segment: count,
      /** up to here, */
      head: count,
      /** with so much that is needed. */
      live: count,
      /** When the present primary began, by the time of records. */
      serving: count,
    },
  },
} as const satisfies Record<string, Table>;

/** SQL of an empty one by another name. `tag`: what tells its indexes from those of others. */
export function createTable({ name, columns, key, indexes = [] }: Table, as = name, tag = ""): string {
  const parts = Object.entries(columns).map(([column, type]) => `${column} ${type}`);
  if (key) parts.push(`PRIMARY KEY (${key})`);
  const created = `CREATE TABLE ${as} (${parts.join(", ")}) STRICT${key ? ", WITHOUT ROWID" : ""};`;
  const indexed = indexes.map(
    ({ by, on, isUnique }) =>
      `CREATE ${isUnique ? "UNIQUE " : ""}INDEX ${name}_by_${by}${tag} ON ${as} ${on};`,
  );
  return [created, ...indexed].join("\n");
}
