/**
 * What a volume's clients write to the log: positional arrays, `[number, …fields]`, and what comes of them. An operation
 * names the inodes that it changes where its caller knows them (`ino`, `replaced`): so that readers know what it touches
 * before it is carried out. Where the name has another inode by then, the result is EAGAIN-like "changed", and the
 * client looks again.
 */

/** `[uid, gid, further groups]`; uid 0 may everything. */
export type By = readonly [uid: number, gid: number, groups: readonly number[]];
/** `[seconds, nanos]`, null: as it is, 0: now, which is the record's time. */
export type TimeChange = readonly [seconds: number, nanos: number] | null | 0;

export interface FileOperations {
  /** `mode` with kind bits. `target` of a symbolic link, else "". `open` 1: for whoever creates it. `exclusive` 0: an existing file is as good, and is not open by this. */
  create: [
    1,
    by: By,
    parent: number,
    name: string,
    mode: number,
    target: string,
    open: number,
    exclusive: number,
  ];
  link: [2, by: By, ino: number, parent: number, name: string];
  unlink: [3, by: By, parent: number, name: string, ino: number];
  removeDirectory: [4, by: By, parent: number, name: string, ino: number];
  /** `replaced` is what toName has, 0: nothing. `how` 0 replace, 1 no replace, 2 exchange. */
  rename: [
    5,
    by: By,
    parent: number,
    name: string,
    toParent: number,
    toName: string,
    how: number,
    ino: number,
    replaced: number,
  ];
  /** −1: as it is. `opened` 1: the caller has it open for writing, so that its size may change whatever its mode. */
  setAttributes: [
    6,
    by: By,
    ino: number,
    mode: number,
    uid: number,
    gid: number,
    size: number,
    atime: TimeChange,
    mtime: TimeChange,
    opened: number,
  ];
  /** `offset` −1: at the end. At most writeBytesMax. Whether the caller may write was checked when it was opened. */
  write: [7, by: By, ino: number, offset: number, bytes: Uint8Array];
  /** The client has it open, until it says otherwise or is gone. */
  open: [8, ino: number];
  release: [9, inos: readonly number[]];
  /** `type` 0 flock, 1 posix; `kind` 0 none, 1 shared, 2 exclusive; `end` −1: to the end. `wait` a ticket of this client, 0: none. */
  lock: [
    10,
    ino: number,
    type: number,
    kind: number,
    start: number,
    end: number,
    owner: string,
    pid: number,
    wait: number,
  ];
  /** The client waits no more. It may have got it before: 1 then, else 0. */
  cancelLock: [11, ino: number, wait: number];
  makeOffset: [12, ino: number, id: string];
  joinOffset: [13, id: string];
  takeOffset: [14, id: string, length: number, beyondEnd: number];
  seekOffset: [15, id: string, offset: number];
  leaveOffset: [16, id: string];
  /** Clients that are no kernels: what they have open or locked goes when they have not said this for so long. */
  attend: [17, ttlMs: number];
  /** The limits of an instance. */
  setQuota: [18, bytesMax: number, inodesMax: number];
  /** Entries of the image that the volume begins with, in the order of their paths; `from` is how many came before. */
  seed: [19, digest: string, from: number, entries: readonly SeedEntry[], last: number];
  /**
   * A whole file of at most writeBytesMax under a name: new, or in place of the file that has it (`replaced`, 0: nothing).
   * Others see what was there before, or all of it. `uid`, `gid` −1: by who makes it. From level 2 on.
   */
  put: [
    20,
    by: By,
    parent: number,
    name: string,
    replaced: number,
    mode: number,
    uid: number,
    gid: number,
    mtime: TimeChange,
    bytes: Uint8Array,
  ];

  // Written by the primary
  /** Takes apart what nobody has any more, a bounded step of it. */
  reap: [32];
  /** Live bytes of a segment, put elsewhere so that it can be given back. */
  move: [33, segment: number, pieces: readonly MovedPiece[], bytes: Uint8Array];
  /** Takes from clients that have not attended what they have open or locked. */
  expire: [34];
}
/** `[path, mode with kind bits, size, digest of a file's content or a link's target]` */
export type SeedEntry = readonly [path: string, mode: number, size: number, content: string];
/** `[inode, start in it, where that was in the segment, bytes]`: those that follow one another in `bytes`. */
export type MovedPiece = readonly [ino: number, start: number, position: number, length: number];

export type FileOperationName = keyof FileOperations;
export type FileOperation = FileOperations[FileOperationName];

/**
 * Results: `[errno name, or "" ]` and then: create, link, rename, setAttributes, put, lookup: an AttributesRow (create: and 1
 * where it was made); write: offset, size, change; takeOffset: offset, length; lock: 1 granted, 0 waiting; seed: entries
 * so far, 1 where they are all. "changed" in place of an errno: look again. Queries answer `["", value]` alike: entries
 * `[name, ino, kind, cookie, AttributesRow | null]` each; lockedBy null or `[kind, start, end, pid]`; usage
 * `["", bytes, bytesMax, inodes, inodesMax, bytesFree]`.
 */
export type FileResult = readonly [error: string, ...values: unknown[]];

/** What is read. Keys: `i` + inode (attributes, content, link), `d` + inode (listing), `d` + inode + `/` + name, `l` + inode (locks). */
export type FileQuery =
  | readonly ["attributes", ino: number]
  | readonly ["lookup", by: By | null, parent: number, name: string]
  | readonly ["entries", ino: number, after: number, limit: number, withAttributes: number]
  | readonly ["link", ino: number]
  /** Bytes: answered by a promise, since they may have to come from the disk. */
  | readonly ["read", ino: number, offset: number, length: number]
  /** Where they are: `[start, length, segment, position, lead, bytes, checksums]` each. For readers beside a replica. */
  | readonly ["extents", ino: number, offset: number, length: number]
  /** Digest of an image's file, which is segment −row. */
  | readonly ["blob", row: number]
  | readonly [
      "lockedBy",
      ino: number,
      type: number,
      kind: number,
      start: number,
      end: number,
      owner: string,
      client: string,
    ]
  | readonly ["offset", id: string]
  | readonly ["usage"]
  /** A whole path in one step, for those far from a replica: attributes; `follow` 1: also a link at its end. */
  | readonly ["path", by: By, path: string, follow: number];

/**
 * What can be followed, as it happens. `changes`: `[ino, change]`, each inode at least once after its last change above
 * `after`; −1: from now on, and where that begins is told first, as `[0, index]`. `granted`: `[wait, index]` of locks that a client has waited for and has got by a record
 * above `after`, as long as it holds them.
 */
export type FileFollow =
  readonly ["changes", after: number] | readonly ["granted", client: string, after: number];
