/**
 * The segments of a replica as another host process beside it reads them: never written from here. Whatever is read is
 * checked by whoever has its checksum; where it is wrong or gone the replica is asked instead.
 */
import { closeSync, openSync, read as readFile, readSync } from "node:fs";
import { join } from "node:path";
import { DvsError } from "../errors.ts";
import { readNowBytesMax, segmentsOpenMax } from "./limits.ts";
import { segmentName } from "./segment-name.ts";

interface Open {
  fd: number;
  /** Reads under way. */
  users: number;
  isForgotten: boolean;
}

export class BlockReader {
  readonly #dir: string;
  /** The one used last is the last. */
  readonly #open = new Map<number, Open>();

  /** The directory of a block store, which may go at any time. */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /** At once: for 64 KiB at most. Null: they are not there, or not all of them. */
  readNow(segment: number, position: number, length: number): Uint8Array | null {
    if (length > readNowBytesMax) return null;
    const bytes = new Uint8Array(length);
    // One that was removed and made anew has another file: it is looked for again, once.
    for (let tries = 0; tries < 2; tries++) {
      const open = this.#file(segment);
      if (!open) return null;
      let read: number;
      try {
        read = readSync(open.fd, bytes, 0, length, position);
      } catch {
        return null;
      }
      if (read === length) return bytes;
      this.#forget(segment, open);
    }
    return null;
  }

  /** Rejects with NOT_FOUND where the segment is gone, FAILED where it is shorter or cannot be read. */
  async read(segment: number, position: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (let tries = 0; tries < 2; tries++) {
      const open = this.#file(segment);
      if (!open) throw new DvsError("NOT_FOUND", `Cannot read block segment ${segment}: it is gone.`);
      const read = await this.#fill(open, bytes, position).catch((cause: Error) => {
        throw new DvsError("FAILED", `Cannot read block segment ${segment}: ${cause.message}.`, { cause });
      });
      if (read === length) return bytes;
      this.#forget(segment, open);
    }
    throw new DvsError(
      "FAILED",
      `Cannot read block segment ${segment}: it ends before ${position + length}.`,
    );
  }

  close(): void {
    for (const [segment, open] of this.#open) this.#forget(segment, open);
  }

  /** Resolves with how many there were. */
  async #fill(open: Open, bytes: Uint8Array, position: number): Promise<number> {
    open.users++;
    try {
      let at = 0;
      while (at < bytes.length) {
        const read = await readSome(open.fd, bytes.subarray(at), position + at);
        if (read === 0) break;
        at += read;
      }
      return at;
    } finally {
      open.users--;
      if (open.isForgotten && open.users === 0) closeSync(open.fd);
    }
  }

  /** Null: there is none. */
  #file(segment: number): Open | null {
    const known = this.#open.get(segment);
    if (known) {
      if (this.#open.size > 1) {
        this.#open.delete(segment);
        this.#open.set(segment, known);
      }
      return known;
    }
    let fd: number;
    try {
      fd = openSync(join(this.#dir, segmentName(segment)), "r");
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw new DvsError("FAILED", `Cannot read block segment ${segment}: ${(e as Error).message}.`, {
        cause: e,
      });
    }
    const open = { fd, users: 0, isForgotten: false };
    this.#open.set(segment, open);
    if (this.#open.size > segmentsOpenMax) {
      const [oldest] = this.#open;
      this.#forget(...oldest!);
    }
    return open;
  }

  #forget(segment: number, open: Open): void {
    if (this.#open.get(segment) === open) this.#open.delete(segment);
    if (open.isForgotten) return;
    open.isForgotten = true;
    if (open.users === 0) closeSync(open.fd);
  }
}

function readSome(fd: number, bytes: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    readFile(fd, bytes, 0, bytes.length, position, (e, count) => (e ? reject(e) : resolve(count)));
  });
}
