/**
 * The one queue of everything that changes the log: groups of records, and *jobs* that cut, renew or repair segments.
 *
 * Group commit: all records that wait are one write, then one fdatasync; what comes meanwhile is the next group. With
 * durability `fsync` a group waits for the sync of the one before, which makes it larger; otherwise writes go on beside
 * syncs, which then follow within `lazySyncMs`. Nothing here blocks the event loop.
 *
 * A full disk loses nothing: the records stay in the queue, are tried again, and whoever writes is told to stop. Any
 * other error ends the writer for good: after a failed sync nobody knows what is on the disk.
 */
import { encodeGroup, groupBytes } from "./encode-group.ts";
import { headBytes, type LogRecord, markBytes, segmentSeed } from "./frame.ts";
import { aheadGroupBytesMax, fullRetryMs, groupBytesMax, lazySyncMs, sealMs } from "./limits.ts";
import { type LogFile, type LogFiles, NoSpace } from "./log-files.ts";
import { noteMark, type Segment, segmentName } from "./segment.ts";
import { call, run, type Steps } from "./steps.ts";

export interface Timing {
  /** Once, so much later, on the same event loop. */
  after(ms: number, run: () => void): void;
  /** When the events that are at hand have been taken: what they append goes into one group. */
  soon(run: () => void): void;
}

export interface WriterEvents {
  written(index: number): void;
  durable(index: number): void;
  full(full: boolean): void;
  failed(error: Error): void;
}

export interface WriterSizes {
  segmentBytes: number;
  aheadBytes: number;
}

interface Job {
  steps: () => Steps<void>;
  done: (error: Error | null) => void;
}

export class Writer {
  readonly files: LogFiles;
  readonly disk: string;
  /** Ascending; records are appended to the last. */
  readonly segments: Segment[];
  readonly #timing: Timing;
  readonly #events: WriterEvents;
  readonly #sizes: WriterSizes;
  readonly #zeros: Uint8Array;

  /** Of the last segment. Null before `start` and while its end is damaged. */
  #file: LogFile | null = null;
  #checksum = 0;
  /** Bytes of the last segment's file, with the zeros behind its chain. */
  #allocated = 0;
  /** Epoch of the last record written. */
  #epoch = 0;
  #written: number;
  #durable: number;
  /** What the last mark says. */
  #marked = 0;
  /** Records above it are to be cut: they count as written or durable no more. */
  #reportMax = Infinity;

  /** Before the queue: jobs that do not depend on it. */
  #urgent: Job[] = [];
  #queue: (LogRecord[] | Job)[] = [];
  #phase: "idle" | "writing" | "job" | "ended" = "idle";
  #syncing = false;
  /** The disk is full: records wait for the next try. Jobs do not, since they may give back space. */
  #blocked = false;
  #retrying = false;
  #soon = false;
  #lazyTimer = false;
  #sealTimer = false;
  #fullReported = false;
  #failed = false;
  #eager = true;
  #wanted = 0;

  constructor(
    files: LogFiles,
    disk: string,
    segments: Segment[],
    written: number,
    timing: Timing,
    events: WriterEvents,
    sizes: WriterSizes,
  ) {
    this.files = files;
    this.disk = disk;
    this.segments = segments;
    this.#written = written;
    this.#durable = written;
    this.#timing = timing;
    this.#events = events;
    this.#sizes = sizes;
    this.#zeros = new Uint8Array(sizes.aheadBytes);
  }

  get written(): number {
    return this.#written;
  }

  get durable(): number {
    return this.#durable;
  }

  get full(): boolean {
    return this.#fullReported;
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** Whether each write is synced at once, or only where `wantDurable` says that somebody waits. */
  set eager(eager: boolean) {
    this.#eager = eager;
    this.#sync();
  }

  /** Records up to there are synced as soon as they are written. */
  wantDurable(index: number): void {
    this.#wanted = index;
    this.#sync();
  }

  get #hurries(): boolean {
    return this.#eager || this.#durable < this.#wanted;
  }

  /** The bytes must not change any more. */
  append(records: LogRecord[]): void {
    const last = this.#queue.at(-1);
    if (Array.isArray(last)) last.push(...records);
    else this.#queue.push(records);
    this.#pumpSoon();
  }

  /** Records above it that wait are forgotten; those written or under way no longer count. A job cuts them. */
  forgetAfter(index: number): void {
    this.#queue = this.#queue.filter((item) => {
      if (!Array.isArray(item)) return true;
      while (item.length > 0 && item.at(-1)!.index > index) item.pop();
      return item.length > 0;
    });
    this.#written = Math.min(this.#written, index);
    this.#durable = Math.min(this.#durable, index);
    this.#wanted = Math.min(this.#wanted, index);
    this.#reportMax = Math.min(this.#reportMax, index);
  }

  /** Runs alone: no write and no sync is under way, and all that was queued before is done. */
  job(steps: () => Steps<void>, done: (error: Error | null) => void): void {
    this.#queue.push({ steps, done });
    this.#pumpSoon();
  }

  /** As `job`, before all that waits: for what does not depend on it, such as giving back old segments. */
  urgentJob(steps: () => Steps<void>, done: (error: Error | null) => void): void {
    this.#urgent.push({ steps, done });
    this.#pumpSoon();
  }

  /** For jobs: what is to be cut, at most. Infinity when nothing is. */
  get cutAfter(): number {
    return this.#reportMax;
  }

  /** For jobs: nothing above `index` is left. It may be that less is wanted by now: then another cut follows. */
  cutDone(index: number): void {
    if (this.#reportMax >= index) this.#reportMax = Infinity;
  }

  /** For jobs: goes on at the end of the last segment, which has been read or cut. */
  *resumeAt(checksum: number, epoch: number): Steps<void> {
    const segment = this.segments.at(-1)!;
    yield* this.#closeFile();
    this.#file = yield* call<LogFile>((done) => this.files.open(segment.name, "write", done));
    this.#allocated = yield* call<number>((done) => this.#file!.size(done));
    this.#checksum = checksum;
    this.#epoch = epoch;
    this.#written = Math.min(segment.nextIndex - 1, this.#reportMax);
    this.#durable = this.#written;
    this.#marked = 0;
  }

  /** For jobs: a new last segment, empty, on the disk when it returns. */
  *begin(firstIndex: number, epoch: number): Steps<void> {
    const name = segmentName(firstIndex);
    const mark = { epoch, nextIndex: firstIndex, durable: this.#durable, previous: 0, position: 0 };
    const { blocks, checksum } = encodeGroup([], mark, segmentSeed(this.disk, firstIndex));
    let file: LogFile | null = null;
    try {
      file = yield* call<LogFile>((done) => this.files.open(name, "create", done));
      const created = file;
      yield* call((done) => created.write(blocks, 0, done));
      yield* call((done) => created.datasync(done));
      yield* call((done) => this.files.syncDirectory(done));
    } catch (e) {
      // It must not stay: a segment says that all before it is durable, also after a later cut.
      if (file) yield* call((done) => file!.close(done));
      yield* call((done) => this.files.remove(name, done));
      yield* call((done) => this.files.syncDirectory(done));
      throw e;
    }
    yield* this.#closeFile();
    this.#file = file;
    this.#checksum = checksum;
    this.#epoch = epoch;
    this.#allocated = markBytes;
    this.#marked = mark.durable;
    this.#written = Math.min(firstIndex - 1, this.#reportMax);
    this.#durable = this.#written;
    const waypoints = [{ nextIndex: firstIndex, position: 0 }];
    this.segments.push({ name, firstIndex, nextIndex: firstIndex, end: markBytes, waypoints });
  }

  /** For jobs: all that was written is durable. */
  *settle(): Steps<void> {
    if (!this.#file || this.#durable === this.#written) return;
    yield* call((done) => this.#file!.datasync(done));
    this.#synced(this.#written);
  }

  /** For the last job: nothing is written after it. Says in the segment that all of it is durable. */
  *finish(): Steps<void> {
    yield* this.settle();
    if (this.#file && this.#marked < this.#durable) {
      yield* call((done) => this.#write([], done));
      yield* call((done) => this.#file!.datasync(done));
    }
    yield* this.#closeFile();
    this.#phase = "ended";
  }

  *#closeFile(): Steps<void> {
    const file = this.#file;
    this.#file = null;
    if (file) yield* call((done) => file.close(done));
  }

  #pumpSoon(): void {
    if (this.#soon || this.#phase !== "idle") return;
    this.#soon = true;
    this.#timing.soon(() => {
      this.#soon = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#phase !== "idle") return;
    const urgent = this.#urgent[0];
    if (urgent) {
      if (this.#syncing) return;
      this.#urgent.shift();
      return this.#runJob(urgent);
    }
    const item = this.#queue[0];
    if (item === undefined) return this.#sync();
    if (!Array.isArray(item)) {
      if (this.#syncing) return;
      this.#queue.shift();
      return this.#runJob(item);
    }
    if (this.#blocked || (this.#syncing && this.#hurries)) return;
    const segment = this.segments.at(-1)!;
    const group = takeGroup(item, Math.min(groupBytesMax, this.#sizes.segmentBytes - markBytes));
    if (item.length === 0) this.#queue.shift();
    const rolls =
      segment.nextIndex > segment.firstIndex && segment.end + groupBytes(group) > this.#sizes.segmentBytes;
    if (rolls) {
      this.#putBack(group);
      if (this.#syncing) return;
      return this.#runJob({ steps: () => this.#roll(), done: () => {} });
    }
    this.#writeGroup(group);
  }

  *#roll(): Steps<void> {
    yield* this.settle();
    yield* this.begin(this.segments.at(-1)!.nextIndex, this.#epoch);
  }

  #runJob({ steps, done }: Job): void {
    this.#phase = "job";
    run(steps(), (error) => {
      if (this.#phase === "ended") return done(error);
      this.#phase = "idle";
      if (error instanceof NoSpace) this.#waitForSpace();
      else if (error) this.#fail(error);
      done(error);
      this.#pump();
    });
  }

  #writeGroup(group: LogRecord[]): void {
    const segment = this.segments.at(-1)!;
    this.#phase = "writing";
    this.#write(group, (error) => {
      if (this.#phase === "ended") return;
      if (error) return this.#notWritten(error, group);
      this.#phase = "idle";
      this.#hasRoom();
      const last = group.at(-1)!;
      segment.nextIndex = last.index + 1;
      this.#epoch = last.epoch;
      const counted = Math.min(last.index, this.#reportMax);
      if (counted > this.#written) {
        this.#written = counted;
        this.#events.written(counted);
      }
      // Whoever heard it may have appended more: that is part of this sync only if it is written first.
      this.#sync();
      this.#pump();
    });
  }

  /** Appends a mark and the records to the last segment. */
  #write(group: LogRecord[], done: (error: Error | null) => void): void {
    const segment = this.segments.at(-1)!;
    const nextIndex = group[0]?.index ?? segment.nextIndex;
    const mark = {
      epoch: this.#epoch,
      nextIndex,
      durable: this.#durable,
      previous: this.#checksum,
      position: segment.end,
    };
    const { blocks, bytes, checksum } = encodeGroup(group, mark, segmentSeed(this.disk, segment.firstIndex));
    const end = segment.end + bytes;
    let allocated = Math.max(this.#allocated, end);
    if (
      end > this.#allocated &&
      bytes <= aheadGroupBytesMax &&
      end < this.#sizes.segmentBytes &&
      !this.#fullReported
    ) {
      blocks.push(this.#zeros);
      allocated = end + this.#zeros.length;
    }
    this.#file!.write(blocks, segment.end, (error) => {
      if (error) return done(error);
      noteMark(segment, mark);
      segment.end = end;
      this.#allocated = allocated;
      this.#checksum = checksum;
      this.#marked = mark.durable;
      done(null);
    });
  }

  #notWritten(error: Error, group: LogRecord[]): void {
    this.#phase = "idle";
    if (!(error instanceof NoSpace)) return this.#fail(error);
    this.#putBack(group.filter((record) => record.index <= this.#reportMax));
    this.#runJob({ steps: () => this.#dropPart(), done: () => this.#waitForSpace() });
  }

  /** What was written of a group goes away for good: it would be taken for records of the log, or for a mark. */
  *#dropPart(): Steps<void> {
    const { end } = this.segments.at(-1)!;
    const file = this.#file!;
    yield* call((done) => file.truncate(end, done));
    yield* call((done) => file.datasync(done));
    this.#allocated = end;
  }

  #putBack(group: LogRecord[]): void {
    if (group.length === 0) return;
    const first = this.#queue[0];
    if (Array.isArray(first)) first.unshift(...group);
    else this.#queue.unshift(group);
  }

  #waitForSpace(): void {
    if (this.#phase === "ended") return;
    this.#blocked = true;
    if (this.#fullReported) return this.#tryAgainLater();
    this.#fullReported = true;
    this.#tryAgainLater();
    this.#events.full(true);
  }

  /** As long as it is full: also when nothing waits, since nobody appends until there is room. */
  #tryAgainLater(): void {
    if (this.#retrying) return;
    this.#retrying = true;
    this.#timing.after(fullRetryMs, () => {
      this.#retrying = false;
      this.#blocked = false;
      if (this.#phase === "ended" || !this.#fullReported) return;
      const waits = this.#syncing || this.#urgent.length + this.#queue.length > 0;
      if (this.#phase === "idle" && !waits && this.#file) this.#writeMark();
      else this.#pump();
      this.#tryAgainLater();
    });
  }

  #hasRoom(): void {
    if (!this.#fullReported) return;
    this.#fullReported = false;
    this.#events.full(false);
  }

  /** The chain goes on from it; it is synced with what follows, or by the operating system's own time. */
  #writeMark(): void {
    this.#phase = "writing";
    this.#write([], (error) => {
      if (this.#phase === "ended") return;
      if (error) return this.#notWritten(error, []);
      this.#phase = "idle";
      this.#hasRoom();
      this.#pump();
    });
  }

  /** Syncs what is written: at once where somebody waits for it. */
  #sync(): void {
    if (this.#hurries) return this.#syncNow();
    if (this.#lazyTimer || this.#durable >= this.#written) return;
    this.#lazyTimer = true;
    this.#timing.after(lazySyncMs, () => {
      this.#lazyTimer = false;
      this.#syncNow();
    });
  }

  #syncNow(): void {
    const possible = this.#phase === "idle" || this.#phase === "writing";
    if (!possible || this.#syncing || this.#durable >= this.#written) return;
    const target = this.#written;
    this.#syncing = true;
    this.#file!.datasync((error) => {
      this.#syncing = false;
      if (this.#phase === "ended") return;
      if (error) return this.#fail(error);
      this.#synced(target);
      this.#pump();
      this.#sync();
      this.#sealLater();
    });
  }

  #synced(target: number): void {
    const counted = Math.min(target, this.#reportMax);
    if (counted <= this.#durable) return;
    this.#durable = counted;
    this.#events.durable(counted);
  }

  #sealLater(): void {
    if (this.#sealTimer || this.#marked >= this.#durable) return;
    this.#sealTimer = true;
    this.#timing.after(sealMs, () => {
      this.#sealTimer = false;
      if (this.#phase === "ended") return;
      const quiet =
        this.#phase === "idle" &&
        !this.#syncing &&
        this.#queue.length === 0 &&
        this.#written === this.#durable;
      if (!quiet) return this.#sealLater();
      if (this.#marked >= this.#durable) return;
      this.#writeMark();
    });
  }

  #fail(error: Error): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#failed = true;
    const jobs = [...this.#urgent, ...this.#queue.filter((item): item is Job => !Array.isArray(item))];
    this.#urgent = [];
    this.#queue = [];
    this.#events.failed(error);
    for (const job of jobs) job.done(error);
  }
}

/** Takes the first records off a queue's item. */
function takeGroup(waiting: LogRecord[], bytesMax: number): LogRecord[] {
  let bytes = 0;
  let count = 0;
  while (count < waiting.length) {
    bytes += headBytes + waiting[count]!.bytes.length;
    if (bytes > bytesMax && count > 0) break;
    count++;
  }
  return count === waiting.length ? waiting.splice(0) : waiting.splice(0, count);
}
