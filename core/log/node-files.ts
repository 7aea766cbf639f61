/**
 * The log's directory on a real disk, by node:fs. Its operations run in the runtime's thread pool, but for short writes
 * into the page cache.
 */
import fs from "node:fs";
import { join } from "node:path";
import { KiB } from "../limits.ts";
import { type Done, type LogFile, type LogFiles, NoSpace } from "./log-files.ts";

/**
 * So much goes into the page cache at once, in some 5 µs: the way through the thread pool and back is 50 to 100, and
 * each replica waits for it before it acknowledges a write.
 */
const nowBytesMax = 16 * KiB;
/** writev(2) takes so many buffers at a time (IOV_MAX). */
const buffersMax = 1_024;

/** `dir` exists and belongs to this replica alone. Files get mode 0600. */
export function nodeFiles(dir: string): LogFiles {
  const path = (name: string): string => join(dir, name);
  return {
    list: (done) => fs.readdir(dir, (e, names) => done(e && errorOf(e), names)),
    open(name, how, done) {
      const flags = how === "create" ? "w+" : how === "write" ? "r+" : "r";
      fs.open(path(name), flags, 0o600, (e, fd) => (e ? done(errorOf(e)) : done(null, new NodeFile(fd))));
    },
    rename: (from, to, done) => fs.rename(path(from), path(to), (e) => done(e && errorOf(e))),
    remove: (name, done) => fs.unlink(path(name), (e) => done(!e || e.code === "ENOENT" ? null : errorOf(e))),
    syncDirectory(done) {
      fs.open(dir, "r", (e, fd) => {
        if (e) return done(errorOf(e));
        fs.fsync(fd, (failed) => fs.close(fd, () => done(failed && errorOf(failed))));
      });
    },
  };
}

class NodeFile implements LogFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  size(done: Done<number>): void {
    fs.fstat(this.#fd, (e, stat) => (e ? done(errorOf(e)) : done(null, stat.size)));
  }

  write(blocks: Uint8Array[], position: number, done: Done): void {
    if (blocks.length === 0) return done(null);
    if (isShort(blocks)) return this.#writeNow(blocks, position, done);
    fs.writev(this.#fd, blocks.slice(0, buffersMax), position, (e, written) => {
      if (e) return done(errorOf(e));
      // It may write less than it was given: near the end of the space, or of 2 GiB.
      const rest = after(blocks, written);
      if (rest.length === 0) return done(null);
      if (written === 0) return done(new Error("write(2) wrote nothing"));
      this.write(rest, position + written, done);
    });
  }

  #writeNow(blocks: Uint8Array[], position: number, done: Done): void {
    let error: Error | null = null;
    try {
      for (let rest = blocks; rest.length > 0;) {
        const written = fs.writevSync(this.#fd, rest, position);
        if (written === 0) throw new Error("write(2) wrote nothing");
        position += written;
        rest = after(rest, written);
      }
    } catch (e) {
      error = errorOf(e as NodeJS.ErrnoException);
    }
    // Never before the caller has returned.
    queueMicrotask(() => done(error));
  }

  datasync(done: Done): void {
    fs.fdatasync(this.#fd, (e) => done(e && errorOf(e)));
  }

  truncate(bytes: number, done: Done): void {
    fs.ftruncate(this.#fd, bytes, (e) => done(e && errorOf(e)));
  }

  read(position: number, bytes: number, done: Done<Uint8Array>): void {
    const buffer = new Uint8Array(bytes);
    let got = 0;
    const more = (): void => {
      fs.read(this.#fd, buffer, got, bytes - got, position + got, (e, n) => {
        if (e) return done(errorOf(e));
        got += n;
        if (n === 0 || got === bytes) return done(null, buffer.subarray(0, got));
        more();
      });
    };
    if (bytes === 0) done(null, buffer);
    else more();
  }

  close(done: Done): void {
    fs.close(this.#fd, (e) => done(e ? errorOf(e) : null));
  }
}

function isShort(blocks: Uint8Array[]): boolean {
  if (blocks.length > buffersMax) return false;
  let bytes = 0;
  for (const { length } of blocks) bytes += length;
  return bytes <= nowBytesMax;
}

/** The blocks without their first `bytes`. */
function after(blocks: Uint8Array[], bytes: number): Uint8Array[] {
  let skipped = 0;
  for (const [i, block] of blocks.entries()) {
    if (skipped + block.length > bytes) return [block.subarray(bytes - skipped), ...blocks.slice(i + 1)];
    skipped += block.length;
  }
  return [];
}

function errorOf(e: NodeJS.ErrnoException): Error {
  const full = e.code === "ENOSPC" || e.code === "EDQUOT";
  return full ? new NoSpace(e.message, { cause: e }) : e;
}
