/**
 * The disk as the log sees it: one directory of flat names, and files written at positions that the log chooses.
 *
 * Completion is by callback, as in node:fs, and not by promises: a simulator of virtual time orders callbacks, while
 * microtasks run behind its back. Callers pass bytes and do not touch them until `done`.
 *
 * What may be lost when the power fails: whatever was written since the last `datasync` of its file, in any part and
 * order; creations, renames and removals since the last `syncDirectory`, of which a first part is kept. When only the host
 * process dies, nothing of what was done is lost; of what was under way, any part.
 */

/** `error` is NoSpace, or whatever the disk said. */
export type Done<T = void> = (error: Error | null, value?: T) => void;

export interface LogFiles {
  list(done: Done<string[]>): void;
  /** "create" makes an empty file, also of one that exists. The others need the file. */
  open(name: string, how: "create" | "write" | "read", done: Done<LogFile>): void;
  /** Replaces `to`. */
  rename(from: string, to: string, done: Done): void;
  /** Also when there is no such file. */
  remove(name: string, done: Done): void;
  /** Creations, renames and removals until now survive a power cut. */
  syncDirectory(done: Done): void;
}

export interface LogFile {
  size(done: Done<number>): void;
  /** All of the blocks, one after the other, from there on. On an error any part of it may have been written. */
  write(blocks: Uint8Array[], position: number, done: Done): void;
  /** What was written before this call, and the size that goes with it, survives a power cut. */
  datasync(done: Done): void;
  truncate(bytes: number, done: Done): void;
  /** Fewer bytes at the end of the file. */
  read(position: number, bytes: number, done: Done<Uint8Array>): void;
  close(done: Done): void;
}

/** The disk, or a quota, is full. What was there stays as it was. */
export class NoSpace extends Error {}
