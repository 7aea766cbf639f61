/**
 * What lets a container read the database of the replica beside it without asking anybody: a small file in memory
 * (tmpfs) that the state process writes and containers read, after DESIGN.md section 5, rule 5.
 *
 *     0    f64  deadline of the read lease, by the clock of this machine's boot; 0: none
 *     8    f64  life: another number with each state process and each database that it has opened
 *     16   u32  bytes of the path of the database, and the path
 *     4096      per bucket of keys: f64 last record prepared, f64 last record that is in the database
 *
 * A reader looks at the deadline, then its buckets, then the clock, and *then* reads: whatever was acknowledged before it looked was
 * marked here as prepared before this replica acknowledged it, so equal numbers mean that the database has it. What it
 * reads beyond is committed, too. Life is looked at again afterwards: a database that was replaced is another file.
 *
 * The file outlives a state process that is killed: whoever certifies its end voids the file first.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { createHash } from "node:crypto";
import { mapFile } from "../platform/map-file.ts";
import { keyBuckets } from "../replica/timings.ts";

const bucketsAt = 4_096;
const bucketBytes = 16;
const pathBytesMax = 2_048;
const pathAt = 20;
const fileBytes = bucketsAt + keyBuckets * bucketBytes;
/** Clocks of two host processes differ by the steps of /proc/uptime (boot-clock.ts). */
export const guardMarginMs = 40;
/** Eight bytes are 1.5 µs, the whole table is 10 µs: so many by themselves at most. */
const singleWrites = 8;
const tmpfs = "/dev/shm";

/** In the run directory of a state process: a link to the file, which is in memory where the machine has such a place. */
export function guardLink(runDir: string): string {
  return join(runDir, "guard");
}

/** The state process's side. */
export class Guard {
  readonly #fd: number;
  readonly #path: string;
  readonly #link: string;
  readonly #number = new Float64Array(1);
  readonly #numberBytes = new Uint8Array(this.#number.buffer);
  /** As in the file: prepared and committed of each bucket. */
  readonly #buckets = new Float64Array(2 * keyBuckets);
  readonly #bucketsBytes = new Uint8Array(this.#buckets.buffer);
  /** Buckets that were prepared and are not yet in the database → the last record. */
  readonly #open = new Map<number, number>();
  /** Prepared, and not yet so in the file. */
  readonly #unwritten = new Set<number>();
  #committed = 0;
  #closed = false;

  constructor(runDir: string, databasePath: string) {
    this.#link = guardLink(runDir);
    voidGuard(runDir);
    const name = `dvs-${createHash("sha256").update(runDir).digest("hex").slice(0, 24)}`;
    this.#path = mayUse(tmpfs) ? join(tmpfs, name) : `${this.#link}.file`;
    rmSync(this.#path, { force: true });
    this.#fd = openSync(this.#path, "wx+", 0o600);
    const bytes = new Uint8Array(fileBytes);
    const path = new TextEncoder().encode(databasePath);
    if (path.length > pathBytesMax) throw new Error(`the path ${databasePath} is too long`);
    new DataView(bytes.buffer).setUint32(16, path.length, true);
    bytes.set(path, pathAt);
    writeSync(this.#fd, bytes, 0, bytes.length, 0);
    this.reopened();
    symlinkSync(this.#path, this.#link);
  }

  /** Another database has the place of the one before. */
  reopened(): void {
    this.#put(8, Math.floor(Math.random() * 2 ** 50) + 1);
  }

  /** −Infinity: nobody may read. */
  setDeadline(deadlineMs: number): void {
    this.#put(0, Math.max(0, deadlineMs - guardMarginMs));
  }

  /** Before the record is acknowledged, and `flush` after it. Null: it may touch any. */
  prepared(index: number, buckets: readonly number[] | null): void {
    if (buckets !== null) {
      for (const bucket of buckets) this.#prepare(bucket, index);
      return;
    }
    for (let bucket = 0; bucket < keyBuckets; bucket++) this.#prepare(bucket, index);
  }

  /** What was prepared is in the file: in one write where it is so much that one is cheaper. */
  flush(): void {
    if (this.#unwritten.size > singleWrites) this.#putBuckets();
    else for (const bucket of this.#unwritten) this.#putPrepared(bucket);
    this.#unwritten.clear();
  }

  /** All records up to there are in the database, for other host processes to see. */
  committed(index: number): void {
    this.#committed = index;
    this.flush();
    const many = this.#open.size > singleWrites;
    for (const [bucket, last] of this.#open) {
      if (last > index) continue;
      this.#open.delete(bucket);
      this.#buckets[2 * bucket + 1] = last;
      if (!many) this.#put(bucketsAt + bucket * bucketBytes + 8, last);
    }
    if (many) this.#putBuckets();
  }

  /** Records above were cut off: they never were. */
  truncatedAfter(index: number): void {
    for (const [bucket, last] of this.#open) if (last > index) this.#prepare(bucket, index);
    this.flush();
    this.committed(this.#committed);
  }

  close(): void {
    if (this.#closed) return;
    this.#put(0, 0);
    this.#put(8, 0);
    this.#closed = true;
    closeSync(this.#fd);
    rmSync(this.#link, { force: true });
    rmSync(this.#path, { force: true });
  }

  #prepare(bucket: number, index: number): void {
    this.#open.set(bucket, index);
    this.#buckets[2 * bucket] = index;
    this.#unwritten.add(bucket);
  }

  #putPrepared(bucket: number): void {
    this.#put(bucketsAt + bucket * bucketBytes, this.#buckets[2 * bucket]!);
  }

  #putBuckets(): void {
    if (!this.#closed) writeSync(this.#fd, this.#bucketsBytes, 0, this.#bucketsBytes.length, bucketsAt);
  }

  #put(position: number, value: number): void {
    if (this.#closed) return;
    this.#number[0] = value;
    writeSync(this.#fd, this.#numberBytes, 0, 8, position);
  }
}

/** Nobody reads by it any more: the state process of this run directory has ended, or begins. */
export function voidGuard(runDir: string): void {
  const link = guardLink(runDir);
  let path: string;
  try {
    path = readlinkSync(link);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT") return;
    throw e;
  }
  try {
    const fd = openSync(path, "r+");
    try {
      writeSync(fd, new Uint8Array(16), 0, 16, 0);
    } finally {
      closeSync(fd);
    }
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ENOENT") throw e;
  }
  rmSync(path, { force: true });
  rmSync(link, { force: true });
}

/** Said by a bucket of which something is prepared and not in the database, or that may not be read at all. */
export const notClean = -1;

/** A reader's side. Nothing here throws for a file that is gone or void: there is nothing to read by then. */
export class GuardReader {
  readonly #fd: number;
  readonly databasePath: string;
  readonly life: number;
  /** The file as memory; null where it is read by system calls, of 2 µs each. */
  readonly #mapped: Float64Array | null;
  readonly #head = new Float64Array(2);
  readonly #headBytes = new Uint8Array(this.#head.buffer);
  readonly #bucket = new Float64Array(2);
  readonly #bucketBytes = new Uint8Array(this.#bucket.buffer);

  /** Null where there is none. */
  static open(runDir: string): GuardReader | null {
    let fd: number;
    try {
      fd = openSync(guardLink(runDir), "r");
    } catch {
      return null;
    }
    const head = new Uint8Array(bucketsAt);
    const read = readSync(fd, head, 0, head.length, 0);
    const view = new DataView(head.buffer);
    const life = view.getFloat64(8, true);
    const bytes = view.getUint32(16, true);
    if (read === head.length && life > 0 && bytes <= pathBytesMax) {
      const path = new TextDecoder().decode(head.subarray(pathAt, pathAt + bytes));
      return new GuardReader(fd, path, life, mapped(runDir, fd, life));
    }
    closeSync(fd);
    return null;
  }

  private constructor(fd: number, databasePath: string, life: number, map: Float64Array | null) {
    this.#fd = fd;
    this.databasePath = databasePath;
    this.life = life;
    this.#mapped = map;
  }

  /** Another state process, another database, or none. */
  get isVoid(): boolean {
    this.#readHead();
    return this.#head[1] !== this.life;
  }

  /**
   * Whether what is read from the database from now on has all that was acknowledged until now. The deadline is read
   * first and the time last, so that the lease held while the buckets were read.
   */
  isClean(clock: { nowMs(): number }, buckets: readonly number[]): boolean {
    return this.stamp(clock, buckets) !== null;
  }

  /** As `isClean`; of each bucket the last record that may have changed it. Null: not clean. */
  stamp(clock: { nowMs(): number }, buckets: readonly number[]): number[] | null {
    this.#readHead();
    if (this.#head[1] !== this.life) return null;
    const deadlineMs = this.#head[0]!;
    const stamp: number[] = [];
    for (const bucket of buckets) {
      const last = this.#lastOf(bucket);
      if (last === notClean) return null;
      stamp.push(last);
    }
    return clock.nowMs() < deadlineMs ? stamp : null;
  }

  /**
   * Whether nothing has come to the buckets since they were stamped so: then what was looked at meanwhile, in however
   * many looks, is what it was at the time of the stamp. The lease has to have held only then.
   */
  isUnchanged(buckets: readonly number[], stamp: readonly number[]): boolean {
    return !this.isVoid && buckets.every((bucket, i) => this.#lastOf(bucket) === stamp[i]);
  }

  /** Of one bucket; `notClean`. What was read when it was the same is still true. */
  last(clock: { nowMs(): number }, bucket: number): number {
    this.#readHead();
    if (this.#head[1] !== this.life) return notClean;
    const deadlineMs = this.#head[0]!;
    const last = this.#lastOf(bucket);
    return clock.nowMs() < deadlineMs ? last : notClean;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #readHead(): void {
    const map = this.#mapped;
    if (!map) {
      readSync(this.#fd, this.#headBytes, 0, 16, 0);
      return;
    }
    this.#head[0] = map[0]!;
    this.#head[1] = map[1]!;
  }

  #lastOf(bucket: number): number {
    const map = this.#mapped;
    if (map) {
      const at = (bucketsAt + bucket * bucketBytes) / Float64Array.BYTES_PER_ELEMENT;
      const prepared = map[at]!;
      return prepared === map[at + 1] ? prepared : notClean;
    }
    readSync(this.#fd, this.#bucketBytes, 0, bucketBytes, bucketsAt + bucket * bucketBytes);
    return this.#bucket[0] === this.#bucket[1] ? this.#bucket[0]! : notClean;
  }
}

/** Of the very file that is open: another may have its place by now. Only in memory, where it cannot fail. */
function mapped(runDir: string, fd: number, life: number): Float64Array | null {
  try {
    const path = readlinkSync(guardLink(runDir));
    if (!path.startsWith(`${tmpfs}/`)) return null;
    const { ino, size } = fstatSync(fd);
    const there = statSync(path);
    if (there.ino !== ino || size !== fileBytes) return null;
    const bytes = mapFile(path);
    if (bytes?.length !== fileBytes || bytes.byteOffset % Float64Array.BYTES_PER_ELEMENT !== 0) return null;
    const map = new Float64Array(bytes.buffer, bytes.byteOffset, fileBytes / Float64Array.BYTES_PER_ELEMENT);
    return map[1] === life ? map : null;
  } catch {
    return null;
  }
}

function mayUse(dir: string): boolean {
  const probe = join(dir, `dvs-probe-${process.pid}-${Math.random().toString(36).slice(2)}`);
  try {
    mkdirSync(probe);
    rmSync(probe, { recursive: true });
    return true;
  } catch {
    return false;
  }
}
