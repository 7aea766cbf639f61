/**
 * Bytes that are too many for tables, in *segments*: files of a directory of their own, which only grow. Where bytes
 * go is decided by modules, the same on each replica (core/state/module.ts, ModuleBlocks); here they get there.
 *
 *   write      returns at once: the bytes wait in a queue, from which they are read, and go to the files in order
 *   written    is told when they are in the files: they survive the end of this host process, and not a power cut
 *   discard    the segment is needed no more from a record on; its file goes when a snapshot on the disk has that record
 *
 * Nothing is synced here but for an orderly end: after a power cut the database comes from a snapshot, whose segments
 * were synced before it counted (core/state/helper.ts), and replaying the log writes what came after to the same places.
 *
 * A full disk loses nothing: what waits is tried again, and `full` asks for no more. Any other error is `failed`: the
 * host process has to end, since nobody knows what is in the files. Nothing is read when it opens, but the names.
 */
import { DvsError } from "../errors.ts";
import { type Done, type LogFile, type LogFiles, NoSpace } from "../log/log-files.ts";
import { call, run, type Steps } from "../log/steps.ts";
import { batchBytesMax, batchWritesMax, fullRetryMs, segmentsOpenMax } from "./limits.ts";
import { OpenSegments } from "./open-segments.ts";
import { overlay, QueuedWrites, type Run, whole } from "./queued-writes.ts";
import { isSegment, segmentName, segmentOf } from "./segment-name.ts";

export interface BlockStoreOptions {
  /** A directory that holds nothing else. */
  files: LogFiles;
  /** Once, so much later. */
  after(ms: number, run: () => void): void;
  /** The disk is full, or there is room again. */
  full(full: boolean): void;
  failed(error: Error): void;
  segmentsOpenMax?: number;
}

export function openBlockStore(options: BlockStoreOptions, done: Done<BlockStore>): void {
  options.files.list((error, names) => {
    if (error) return done(error);
    const segments = names!.map(segmentOf).filter((segment) => segment !== null);
    done(null, new BlockStore(options, segments));
  });
}

export class BlockStore {
  readonly #options: BlockStoreOptions;
  readonly #open: OpenSegments;
  /** Those that have a file. */
  readonly #present: Set<number>;
  readonly #queue = new QueuedWrites();
  /** Segment → the record that discarded it. */
  readonly #discarded = new Map<number, number>();
  /** Written since they were synced last, in this life or, as far as that is not known, before. */
  readonly #unsynced = new Set<number>();
  /** Sequences from which on all before is in the files. */
  #waiting: { sequence: number; run: () => void }[] = [];
  #written = 0;
  #busy = false;
  #full = false;
  #failed = false;
  #closed = false;

  /** Use `openBlockStore`. */
  constructor(options: BlockStoreOptions, segments: readonly number[]) {
    this.#options = options;
    this.#open = new OpenSegments(options.files, options.segmentsOpenMax ?? segmentsOpenMax);
    this.#present = new Set(segments);
  }

  /** Those that have a file. */
  get segments(): ReadonlySet<number> {
    return this.#present;
  }

  /** Not yet in the files. */
  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  get isWritten(): boolean {
    return this.#written === this.#queue.last;
  }

  get isFull(): boolean {
    return this.#full;
  }

  /**
   * What a database that begins here says: segments that it needs, and their lengths; older ones are as discarded by
   * its last record, newer ones may be of records that are still to be applied, or of a snapshot on its way. `synced`: how much of them is surely on the disk; more may have been written in another life.
   */
  begin(
    index: number,
    lengths: ReadonlyMap<number, number>,
    synced: ReadonlyMap<number, number> = new Map(),
  ): void {
    this.#discarded.clear();
    let newest = 0;
    for (const segment of lengths.keys()) newest = Math.max(newest, segment);
    for (const segment of this.#present)
      if (segment < newest && !lengths.has(segment)) this.#discarded.set(segment, index);
    for (const [segment, length] of lengths)
      if (length > (synced.get(segment) ?? 0)) this.#unsynced.add(segment);
  }

  /** The bytes must not change any more. */
  write(segment: number, position: number, bytes: Uint8Array): void {
    checkRange(segment, position, bytes.length);
    this.#discarded.delete(segment);
    if (bytes.length === 0) return;
    this.#queue.add(segment, position, bytes);
    this.#pump();
  }

  /** Once, when all that has been put here until now is in the files; at once, where it is. */
  whenWritten(then: () => void): void {
    if (this.isWritten) then();
    else this.#waiting.push({ sequence: this.#queue.last, run: then });
  }

  /** A copy. Rejects with NOT_FOUND where there is no such segment, FAILED where it is shorter or cannot be read. */
  async read(segment: number, position: number, length: number): Promise<Uint8Array> {
    checkRange(segment, position, length);
    const queued = this.#queue.within(segment, position, length);
    const all = whole(queued, position, length);
    if (all) return all;
    const bytes = new Uint8Array(length);
    if (this.#present.has(segment))
      bytes.set(await this.#readFile(segment, position, length, queued.length > 0));
    else if (queued.length === 0) {
      throw new DvsError("NOT_FOUND", `Cannot read block segment ${segment}: it is gone.`);
    }
    overlay(bytes, position, queued);
    return bytes;
  }

  /** Of its file, which may have more than anybody needs; 0 where there is none. Rejects with FAILED. */
  async lengthOf(segment: number): Promise<number> {
    if (!this.#present.has(segment)) return 0;
    return this.#use<number>("look at", segment, "write", (file, end) => file.size(end));
  }

  /**
   * Bytes that another replica has there, at once and not behind what waits: where both write, they write the same.
   * Rejects with EXHAUSTED on a full disk, FAILED where it cannot be written.
   */
  async put(segment: number, position: number, bytes: Uint8Array): Promise<void> {
    checkRange(segment, position, bytes.length);
    const write = (file: LogFile, end: Done): void => file.write([bytes], position, end);
    const isThere = this.#present.has(segment);
    this.#present.add(segment);
    try {
      await this.#use<void>("write", segment, isThere ? "write" : "create", write);
    } catch (e) {
      const cause = (e as DvsError).cause as NodeJS.ErrnoException;
      if (cause.code !== "ENOENT") throw e;
      // The disk has lost the whole file.
      await this.#use<void>("write", segment, "create", write);
    }
    this.#unsynced.add(segment);
  }

  /** What was put or written survives a power cut: of one segment, or of all. Rejects with FAILED. */
  async synced(segment?: number): Promise<void> {
    if (segment !== undefined)
      return this.#use<void>("sync", segment, "write", (file, end) => file.datasync(end));
    await new Promise<void>((resolve, reject) => {
      this.sync((error) => (error ? reject(failure("sync", null, error)) : resolve()));
    });
  }

  /** From this record on nothing in it is needed. */
  discard(segment: number, record: number): void {
    this.#discarded.set(segment, record);
  }

  /** A snapshot on the disk has this record, and nobody reads an older one: what was discarded until then is removed. */
  collect(record: number, done: Done): void {
    const gone = [...this.#discarded].filter(([, at]) => at <= record).map(([segment]) => segment);
    run(this.#remove(gone), done);
  }

  /** Everything that is in the files survives a power cut. */
  sync(done: Done): void {
    run(this.#sync(), done);
  }

  /** What waits is lost; it is in the log. */
  close(): void {
    this.#closed = true;
    this.#open.forgetAll();
  }

  *#sync(): Steps<void> {
    for (const segment of [...this.#unsynced]) {
      // What is written meanwhile has to be synced again.
      this.#unsynced.delete(segment);
      if (!this.#present.has(segment)) continue;
      try {
        yield* call((done) => this.#open.use(segment, "write", (file, end) => file.datasync(end), done));
      } catch (e) {
        this.#unsynced.add(segment);
        throw e;
      }
    }
    yield* call((done) => this.#options.files.syncDirectory(done));
  }

  *#remove(segments: readonly number[]): Steps<void> {
    for (const segment of segments) {
      // It may be needed again: by a log that is applied once more.
      if (!this.#discarded.has(segment) || this.#queue.within(segment, 0, Infinity).length > 0) continue;
      this.#discarded.delete(segment);
      if (!this.#present.delete(segment)) continue;
      this.#unsynced.delete(segment);
      this.#open.forget(segment);
      yield* call((done) => this.#options.files.remove(segmentName(segment), done));
    }
  }

  #pump(): void {
    if (this.#busy || this.#failed || this.#closed || this.#queue.isEmpty) return;
    this.#busy = true;
    const { runs, count } = this.#queue.batch(batchBytesMax, batchWritesMax);
    let left = runs.length;
    let failure: Error | null = null;
    for (const each of runs) {
      this.#writeRun(each, (error) => {
        // Room may come back; nothing else does.
        if (error && !(failure && !(failure instanceof NoSpace))) failure = error;
        if (--left === 0) this.#batchDone(count, failure);
      });
    }
  }

  #writeRun({ segment, position, blocks }: Run, done: Done): void {
    const how = this.#present.has(segment) ? "write" : "create";
    this.#present.add(segment);
    this.#unsynced.add(segment);
    let isOpen = false;
    this.#open.use<void>(
      segment,
      how,
      (file, end) => {
        isOpen = true;
        file.write(blocks, position, end);
      },
      (error) => {
        // The next try is to make it.
        if (error && how === "create" && !isOpen) this.#present.delete(segment);
        done(error);
      },
    );
  }

  #batchDone(count: number, error: Error | null): void {
    this.#busy = false;
    if (this.#closed) return;
    if (error instanceof NoSpace) {
      if (!this.#full) this.#options.full((this.#full = true));
      this.#busy = true;
      this.#options.after(fullRetryMs, () => {
        this.#busy = false;
        this.#pump();
      });
      return;
    }
    if (error) {
      this.#failed = true;
      return this.#options.failed(error);
    }
    this.#queue.remove(count);
    this.#written += count;
    if (this.#full) this.#options.full((this.#full = false));
    const ready = this.#waiting.filter(({ sequence }) => sequence <= this.#written);
    this.#waiting = this.#waiting.filter(({ sequence }) => sequence > this.#written);
    for (const { run: then } of ready) then();
    this.#pump();
  }

  #use<T>(
    what: string,
    segment: number,
    how: "create" | "write",
    act: (file: LogFile, done: Done<T>) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#open.use<T>(segment, how, act, (error, value) =>
        error ? reject(failure(what, segment, error)) : resolve(value as T),
      );
    });
  }

  /** Zeros for what is not there, where `mayBeShort`. */
  async #readFile(
    segment: number,
    position: number,
    length: number,
    mayBeShort: boolean,
  ): Promise<Uint8Array> {
    const bytes = await this.#use<Uint8Array>("read", segment, "write", (file, end) =>
      file.read(position, length, end),
    );
    if (bytes.length === length || mayBeShort) return bytes;
    throw new DvsError(
      "FAILED",
      `Cannot read block segment ${segment}: it ends at ${position + bytes.length}, before ${position + length}.`,
    );
  }
}

function failure(what: string, segment: number | null, cause: Error): DvsError {
  const which = segment === null ? "the segments of blocks" : `block segment ${segment}`;
  if (cause instanceof NoSpace)
    return new DvsError("EXHAUSTED", `Cannot ${what} ${which}: the disk is full.`, { cause });
  return new DvsError("FAILED", `Cannot ${what} ${which}: ${cause.message}.`, { cause });
}

function checkRange(segment: number, position: number, length: number): void {
  const isRange =
    Number.isSafeInteger(position) && position >= 0 && Number.isSafeInteger(length) && length >= 0;
  if (!isSegment(segment) || !isRange)
    throw new RangeError(`bytes ${position} to ${position + length} of block segment ${segment}`);
}
