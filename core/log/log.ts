/**
 * The log of one replica: opaque records with (epoch, index), each with a checksum, in segments. It takes the steps of a
 * machine: calls return at once, and the listener hears what has become of them.
 *
 * - `written`: survives the end of this host process. `durable`: survives a power cut. Both only rise, but for `truncateAfter`.
 * - What the listener was told is never taken back by a crash; what it was not told may be there after it, or not.
 * - A disk that is full loses nothing: `full(true)` asks not to append more, and what was appended follows when there is
 *   room. Any other error of the disk is `failed`: the log takes nothing more, and the replica has to start again.
 */
import { begin, cut, discard } from "./cut.ts";
import type { EpochRun, Epochs } from "./epochs.ts";
import type { LogRecord } from "./frame.ts";
import { recordBytesMax } from "./limits.ts";
import type { Done } from "./log-files.ts";
import { DamagedRecords, readRecords } from "./read-records.ts";
import type { IndexRange } from "./recover.ts";
import { CannotRepair, repair } from "./repair.ts";
import type { Segment } from "./segment.ts";
import { run, type Steps } from "./steps.ts";
import type { Tail } from "./tail.ts";
import type { Writer, WriterEvents } from "./writer.ts";

export type { LogRecord } from "./frame.ts";
export type { IndexRange } from "./recover.ts";

export interface LogListener extends WriterEvents {
  /** Found by a reader or by scrubbing; also in `damage` from then on, until repaired or cut off. */
  damaged(range: IndexRange): void;
}

export interface LogParts {
  writer: Writer;
  epochs: Epochs;
  tail: Tail;
  listener: LogListener;
  /** Records below it are gone: only a snapshot has them. */
  firstIndex: number;
  lastIndex: number;
  damage: IndexRange[];
  /** It was opened with its last record damaged: the chain of checksums cannot be gone on with. */
  endIsLost: boolean;
}

export class Log {
  readonly #parts: LogParts;

  /** Use `openLog`. */
  constructor(parts: LogParts) {
    this.#parts = parts;
  }

  /** The oldest record that can be read; `lastIndex` + 1 when there is none. */
  get firstIndex(): number {
    return this.#parts.firstIndex;
  }

  /** The last one appended. */
  get lastIndex(): number {
    return this.#parts.lastIndex;
  }

  get written(): number {
    return this.#parts.writer.written;
  }

  get durable(): number {
    return this.#parts.writer.durable;
  }

  get full(): boolean {
    return this.#parts.writer.full;
  }

  get failed(): boolean {
    return this.#parts.writer.failed;
  }

  /**
   * Records known to be damaged, ascending. Where the last one was found to be so at the start, nothing can be appended:
   * repair, cut or reset first.
   */
  get damage(): readonly IndexRange[] {
    return this.#parts.damage;
  }

  get segments(): readonly Segment[] {
    return this.#parts.writer.segments;
  }

  /** Of a record in the log, or of the one just before its first; null when that is not known. */
  epochAt(index: number): number | null {
    const { epochs, firstIndex, lastIndex } = this.#parts;
    return index < firstIndex - 1 || index > lastIndex ? null : epochs.at(index);
  }

  /** Runs of records of one epoch, by the index that each begins with; null: damaged. The first may begin just before the log. */
  get epochRuns(): readonly EpochRun[] {
    return this.#parts.epochs.runs;
  }

  /** `eager` (durability fsync): each write is synced at once. Otherwise within `lazySyncMs`. */
  set eager(eager: boolean) {
    this.#parts.writer.eager = eager;
  }

  /** Where it is not `eager`: what was appended until now is synced as soon as it is written. */
  wantDurable(): void {
    this.#parts.writer.wantDurable(this.#parts.lastIndex);
  }

  /** Indices follow `lastIndex` without a gap, epochs do not fall. The bytes must not change any more. */
  append(records: LogRecord[]): void {
    const parts = this.#parts;
    if (parts.endIsLost) throw new Error("the end of the log is damaged: repair or cut it before appending");
    for (const record of records) {
      if (record.index !== parts.lastIndex + 1) {
        throw new Error(`record ${record.index} cannot follow record ${parts.lastIndex} in the log`);
      }
      if (record.bytes.length > recordBytesMax)
        throw new Error(`a record of ${record.bytes.length} bytes in the log`);
      parts.lastIndex = record.index;
      parts.epochs.set(record.index, record.epoch);
      parts.tail.push(record);
    }
    if (records.length > 0) parts.writer.append(records.slice());
    parts.tail.shrink(parts.writer.written);
  }

  /** Forgets the records above `index`, which is at least `firstIndex` - 1. Gone for good before anything appended later is written. */
  truncateAfter(index: number): void {
    const parts = this.#parts;
    if (index >= parts.lastIndex) return;
    if (index < parts.firstIndex - 1) {
      throw new Error(`the log begins with record ${parts.firstIndex} and cannot be cut after ${index}`);
    }
    parts.lastIndex = index;
    parts.endIsLost = false;
    parts.epochs.truncateAfter(index);
    parts.tail.truncateAfter(index);
    parts.damage = parts.damage
      .filter((range) => range.from <= index)
      .map(({ from, to }) => ({ from, to: Math.min(to, index) }));
    parts.writer.forgetAfter(index);
    parts.writer.job(
      () => cut(parts.writer),
      () => {},
    );
  }

  /** Records up to `index` are no longer needed: a snapshot on the disk has what they did. Frees whole segments. */
  discardUpTo(index: number): void {
    const { writer } = this.#parts;
    writer.urgentJob(
      () => discard(writer.files, writer.segments, Math.min(index, writer.durable)),
      () => this.#beginsWith(writer.segments[0]?.firstIndex ?? 1),
    );
    if (this.#parts.damage.some((range) => range.from <= index)) this.#beginsWith(index + 1);
  }

  /** Forgets everything and goes on after `index`, whose state a snapshot on the disk has. Nothing may be appended before `done`. */
  reset(index: number, epoch: number, done: Done): void {
    const parts = this.#parts;
    // It may go on before all that was there: nothing of that is to be said durable.
    parts.writer.forgetAfter(Math.min(parts.firstIndex - 1, index));
    parts.writer.job(
      () => begin(parts.writer, index, epoch),
      (error) => {
        if (!error) {
          parts.tail.clear();
          parts.epochs.reset(index, epoch);
          Object.assign(parts, { firstIndex: index + 1, lastIndex: index, damage: [], endIsLost: false });
        }
        done(error);
      },
    );
  }

  /**
   * Records from `from` on, of at most so many bytes but at least one; none beyond the end. Null: they are gone, or have
   * gone meanwhile, and a snapshot has to take their place. DamagedRecords: another replica has to give them.
   */
  read(from: number, bytesMax: number, done: Done<LogRecord[] | null>): void {
    const { writer, tail, firstIndex, lastIndex, epochs } = this.#parts;
    if (from > lastIndex) return done(null, []);
    if (from < firstIndex) return done(null, null);
    if (from >= tail.firstIndex) return done(null, tail.read(from, bytesMax));
    const segment = writer.segments.findLast((each) => each.firstIndex <= from);
    if (!segment) return done(null, null);
    const { waypoints } = segment;
    run(readRecords(writer.files, writer.disk, segment, from, bytesMax), (error, records) => {
      const parts = this.#parts;
      if (from < parts.firstIndex) return done(null, null);
      // Cut or repaired meanwhile: what was read may be neither the old nor the new.
      const changed = !writer.segments.includes(segment) || segment.waypoints !== waypoints;
      if (error && changed) return this.read(from, bytesMax, done);
      if (error instanceof DamagedRecords) this.noteDamage(error.range);
      if (error) return done(error);
      const good = records!.filter(
        ({ index, epoch }) => index <= parts.lastIndex && epochs.at(index) === epoch,
      );
      done(null, good);
    });
  }

  /**
   * Writes good records, from another replica, in place of the damaged ones; all of `damage` is covered by them. Where
   * they are not enough, nothing has changed, and the log goes on.
   */
  repair(records: LogRecord[], done: Done): void {
    const parts = this.#parts;
    const { writer, epochs } = parts;
    let refused: CannotRepair | null = null;
    function* repairOrRefuse(): Steps<void> {
      try {
        yield* repair(writer, parts.damage, records);
      } catch (e) {
        if (!(e instanceof CannotRepair)) throw e;
        refused = e;
      }
    }
    writer.job(repairOrRefuse, (error) => {
      if (refused?.index) this.noteDamage({ from: refused.index, to: refused.index });
      if (error ?? refused) return done(error ?? refused);
      for (const { from, to } of parts.damage) {
        const repaired = records.filter(({ index }) => index >= from && index <= to);
        epochs.fill(
          from,
          repaired.map(({ epoch }) => epoch),
          parts.lastIndex,
        );
      }
      parts.damage = [];
      parts.endIsLost = false;
      done(null);
    });
  }

  /** Notes damage of records that a reader has met. */
  noteDamage(range: IndexRange): void {
    const { damage, listener, firstIndex } = this.#parts;
    const known = damage.some(({ from, to }) => from <= range.from && range.to <= to);
    if (known || range.to < firstIndex) return;
    this.#parts.damage = [...damage, range].sort((a, b) => a.from - b.from);
    listener.damaged(range);
  }

  /** What was appended is durable then, unless the disk is full or has failed. Nothing works any more afterwards. */
  close(done: Done): void {
    const { writer } = this.#parts;
    if (writer.failed) return done(new Error("the log has failed"));
    const closing = writer.full ? writer.urgentJob.bind(writer) : writer.job.bind(writer);
    closing(() => writer.finish(), done);
  }

  #beginsWith(index: number): void {
    const parts = this.#parts;
    if (index <= parts.firstIndex) return;
    parts.firstIndex = index;
    parts.epochs.discardBefore(index - 1);
    parts.damage = parts.damage
      .filter((range) => range.to >= index)
      .map(({ from, to }) => ({ from: Math.max(from, index), to }));
  }
}
