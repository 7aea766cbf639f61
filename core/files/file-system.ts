/**
 * An instance's file system, as everybody uses it: VOSes, the FUSE mount, `dvs cp`. It speaks of inodes, as the kernel
 * of an operating system does; `paths.ts` walks paths over it. What was acknowledged on one node is seen on every other
 * by what begins afterwards (linearizable).
 *
 * Every call rejects with a FileError, or with DvsError UNAVAILABLE (not carried out) or OUTCOME_UNKNOWN.
 */
import type { Attributes, FileTime } from "./attributes.ts";

export const rootIno = 1;

/** On whose behalf: permissions are checked by it, and what is made belongs to it. uid 0 may everything. */
export interface Credentials {
  uid: number;
  gid: number;
  /** Further groups. */
  groups?: readonly number[];
}

/** What is left out stays as it is. */
export interface AttributeChanges {
  /** Permission bits with set-user-ID, set-group-ID and sticky. */
  mode?: number;
  uid?: number;
  gid?: number;
  /** Cut, or grown by a hole. */
  size?: number;
  atime?: FileTime | "now";
  mtime?: FileTime | "now";
}

/** Of a file that is put as a whole; its owner is who puts it, where none is given. */
export interface PutAttributes {
  mode: number;
  uid?: number;
  gid?: number;
  mtime?: FileTime;
}

export interface DirectoryEntry {
  name: string;
  ino: number;
  /** Kind bits of its mode. */
  kind: number;
  /** Of the entry: `entries` goes on behind it. Stays the same as long as the entry is there. */
  cookie: number;
  /** Where it was asked for. */
  attributes?: Attributes;
}

export interface FileSystemUsage {
  /** Taken by content; the most that may be. */
  bytes: number;
  bytesMax: number;
  inodes: number;
  inodesMax: number;
  /** Free on the disk of the replica that has least, where that is less than the quota leaves. */
  bytesFree: number;
}

/** Bytes [start, end); end may be Infinity. */
export interface LockRange {
  start: number;
  end: number;
}
export interface LockRequest {
  /** `flock`: the whole file, by open file description; `posix`: a range, by process (fcntl). They do not see each other. */
  type: "flock" | "posix";
  kind: "shared" | "exclusive" | "none";
  range: LockRange;
  /** Whose it is, unique within this client: 1 to 64 printable characters. */
  owner: string;
  /** Wait for it; an abort of the signal ends with EINTR. Otherwise a conflict is EAGAIN. */
  wait?: AbortSignal | true;
  /** Of the process, for whoever asks who holds it. */
  pid?: number;
}
export interface LockHolder {
  kind: "shared" | "exclusive";
  range: LockRange;
  pid: number;
}

export interface OpenFlags {
  read?: boolean;
  write?: boolean;
  /** Each write goes to the end, atomically with all others. */
  append?: boolean;
  truncate?: boolean;
}

/** A file stays, unlinked too, as long as somebody has it open; a client that is gone has nothing open. */
export interface OpenFile {
  readonly ino: number;
  attributes(): Promise<Attributes>;
  /** Fewer bytes at the end of the file; holes are zeros. The bytes are the caller's. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /**
   * All of it; the bytes must not change until it has resolved. Up to 256 KiB are atomic. Resolves with the offset where
   * they are, which with `append` is found only then.
   */
  write(offset: number, bytes: Uint8Array): Promise<number>;
  truncate(size: number): Promise<void>;
  /** All that was written before, by anybody, survives a power cut of all machines. */
  sync(): Promise<void>;
  /** Rejects with EAGAIN, EDEADLK (posix), EINTR. */
  lock(request: LockRequest): Promise<void>;
  /** Who is in the way of this lock; null: nobody. */
  lockedBy(request: LockRequest): Promise<LockHolder | null>;
  /**
   * Gives up all locks of the owner on this file, as a close does. Where no replica answers this is done as soon as one
   * does, and does not reject: nothing was lost.
   */
  unlock(type: LockRequest["type"], owner: string): Promise<void>;
  /** Locks of these owners go with it; to be called once. */
  close(unlock?: { flockOwner?: string; posixOwner?: string }): Promise<void>;
}

export interface FileSystem {
  /** The same, for somebody else. Permissions are not checked before (uid 0). */
  as(who: Credentials): FileSystem;

  attributes(ino: number): Promise<Attributes>;
  /** "." and ".." are names too. */
  lookup(parent: number, name: string): Promise<Attributes>;
  /** In the order of their cookies, those after `after` (0: from the start), without "." and ".."; none: the end. */
  entries(ino: number, after: number, limit: number, withAttributes?: boolean): Promise<DirectoryEntry[]>;
  readLink(ino: number): Promise<string>;
  usage(): Promise<FileSystemUsage>;
  /** What is left out stays as it is. What is above it stays, and nothing more comes. EPERM but for uid 0. */
  setQuota(quota: { bytesMax?: number | undefined; inodesMax?: number | undefined }): Promise<void>;

  /** An empty file; `exclusive`: EEXIST where there is one, else that one is opened. */
  create(
    parent: number,
    name: string,
    mode: number,
    flags: OpenFlags & { exclusive?: boolean },
  ): Promise<{ attributes: Attributes; file: OpenFile; created: boolean }>;
  open(ino: number, flags: OpenFlags): Promise<OpenFile>;
  /**
   * A whole file of at most 256 KiB, new or in place of the one that has the name: others see that one, or all of the new.
   * `found`: the inode that the name had a moment ago, 0: none. Resolves with null where not all replicas know how, as
   * during an upgrade: then it takes a file of another name, and a rename.
   */
  put(
    parent: number,
    name: string,
    bytes: Uint8Array,
    attributes: PutAttributes,
    found?: number,
  ): Promise<Attributes | null>;
  makeDirectory(parent: number, name: string, mode: number): Promise<Attributes>;
  /** A fifo or a socket: a name that a VOS gives a meaning to. */
  makeNode(parent: number, name: string, mode: number): Promise<Attributes>;
  makeLink(ino: number, parent: number, name: string): Promise<Attributes>;
  makeSymlink(parent: number, name: string, target: string): Promise<Attributes>;
  /** `only`: ESTALE where the name has another inode than this one. */
  unlink(parent: number, name: string, only?: number): Promise<void>;
  removeDirectory(parent: number, name: string): Promise<void>;
  /** As renameat2: `noReplace` EEXIST, `exchange` both names. `only`: ESTALE where `toName` has another inode; 0: any at all. */
  rename(
    parent: number,
    name: string,
    toParent: number,
    toName: string,
    how?: "replace" | "noReplace" | "exchange",
    only?: number,
  ): Promise<void>;
  setAttributes(ino: number, changes: AttributeChanges): Promise<Attributes>;
  /** As OpenFile.sync. */
  sync(): Promise<void>;

  /**
   * An offset that several processes share, as after fork: on whatever node each of them is. `take` gives the offset and
   * moves it on by what may be read or was written; `seek` sets it.
   */
  sharedOffset(ino: number): Promise<SharedOffset>;
  /** One that another client has made. */
  joinOffset(id: string): Promise<SharedOffset>;

  /** Inodes whose content or attributes have changed, at least once for each change, from now on. */
  changes(signal: AbortSignal): AsyncIterable<{ ino: number; change: number }[]>;
}

export interface SharedOffset {
  readonly id: string;
  /** Moves on by `length`, but not beyond the end of the file where `toEnd` is false. Resolves with where it was, and by how much. */
  take(length: number, beyondEnd: boolean): Promise<{ offset: number; length: number }>;
  seek(offset: number): Promise<void>;
  get(): Promise<number>;
  /** Of this client. It is gone with the last. */
  leave(): Promise<void>;
}
