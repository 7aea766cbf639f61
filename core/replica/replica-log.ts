/**
 * The log as the machine knows it: where it begins and ends, which epochs it has, how far it is written and durable,
 * and the newest records themselves. What changes it goes to the sink in the same step.
 */
import { EpochTable, type EpochRun, type Position } from "./epoch-table.ts";
import type { LogRecord } from "./record.ts";
import type { ReplicaSink } from "./sink.ts";
import { recentBytes } from "./timings.ts";

/** What the disk had when it was opened. All of it is durable. */
export interface RecoveredLog {
  base: Position;
  epochs: readonly EpochRun[];
  lastIndex: number;
  /** Of the last record; 0 or nothing: there is none. */
  timeMs?: number;
}

export class ReplicaLog {
  readonly #sink: ReplicaSink;
  #epochs: EpochTable;
  #lastIndex: number;
  /** The latest of all records that were ever there, as far as this life knows. */
  #timeMs: number;
  #written: number;
  #durable: number;
  /** The newest, up to the last; empty after a start. `#recent[#from]` has index `#recentFirst`. */
  #recent: LogRecord[] = [];
  #from = 0;
  /** Of those before `#from`. */
  #forgottenBytes = 0;
  #recentFirst: number;
  #recentBytes = 0;

  constructor(sink: ReplicaSink, recovered: RecoveredLog) {
    this.#sink = sink;
    this.#epochs = new EpochTable(recovered.base, recovered.epochs);
    this.#lastIndex = recovered.lastIndex;
    this.#timeMs = recovered.timeMs ?? 0;
    this.#written = recovered.lastIndex;
    this.#durable = recovered.lastIndex;
    this.#recentFirst = recovered.lastIndex + 1;
  }

  get base(): Position {
    return this.#epochs.base;
  }
  get lastIndex(): number {
    return this.#lastIndex;
  }
  get lastEpoch(): number {
    return this.#epochs.lastEpoch;
  }
  /** Records that follow have no earlier time. */
  get timeMs(): number {
    return this.#timeMs;
  }
  get written(): number {
    return this.#written;
  }
  get durable(): number {
    return this.#durable;
  }
  /** From here on records are in memory. */
  get recentFirst(): number {
    return this.#recentFirst;
  }

  /** Null: it is before the log. */
  epochAt(index: number): number | null {
    return this.#epochs.at(index);
  }

  /** The last record at or below `index` whose epoch is at most `epoch`: the last that may be in another's log. */
  lastNotAbove(epoch: number, index: number): Position {
    return this.#epochs.lastNotAbove(epoch, index, this.#lastIndex);
  }

  /** They follow the last. */
  append(records: readonly LogRecord[]): void {
    for (const record of records) {
      this.#epochs.append(record.index, record.epoch);
      this.#recent.push(record);
      this.#recentBytes += record.bytes.length;
    }
    this.#lastIndex += records.length;
    // They do not go back in themselves.
    this.#timeMs = Math.max(this.#timeMs, records.at(-1)?.timeMs ?? 0);
    this.#sink.append(records);
  }

  /** Never below what is committed. */
  truncateAfter(index: number): void {
    this.#epochs.truncateAfter(index);
    this.#lastIndex = index;
    this.#written = Math.min(this.#written, index);
    this.#durable = Math.min(this.#durable, index);
    while (this.#recent.length > this.#from && this.#recent.at(-1)!.index > index) {
      this.#recentBytes -= this.#recent.pop()!.bytes.length;
    }
    if (this.#recent.length === this.#from) this.#forgetRecent();
    this.#sink.truncateAfter(index);
  }

  setWritten(index: number): void {
    this.#written = Math.max(this.#written, Math.min(index, this.#lastIndex));
  }
  setDurable(index: number): void {
    this.setWritten(index);
    this.#durable = Math.max(this.#durable, Math.min(index, this.#lastIndex));
  }

  /** Null where it is to be fetched. */
  get(index: number): LogRecord | null {
    if (index < this.#recentFirst || index > this.#lastIndex) return null;
    return this.#recent[this.#from + index - this.#recentFirst]!;
  }

  /** Records in memory from `from` on, at least one, up to `bytesMax` in all. */
  slice(from: number, bytesMax: number): LogRecord[] {
    const start = this.#from + from - this.#recentFirst;
    let end = start;
    let bytes = 0;
    while (end < this.#recent.length) {
      bytes += this.#recent[end]!.bytes.length;
      if (end > start && bytes > bytesMax) break;
      end++;
    }
    return this.#recent.slice(start, end);
  }

  /** Forgets the oldest records in memory, if they are too many; those above `needed` stay. */
  trim(needed: number): void {
    while (this.#recentBytes > recentBytes && this.#recentFirst <= needed) {
      const { length } = this.#recent[this.#from]!.bytes;
      this.#recentBytes -= length;
      this.#forgottenBytes += length;
      this.#from++;
      this.#recentFirst++;
    }
    const many = this.#from > 1_024 && this.#from > this.#recent.length / 2;
    if (many || this.#forgottenBytes >= recentBytes) {
      this.#recent = this.#recent.slice(this.#from);
      this.#from = 0;
      this.#forgottenBytes = 0;
    }
  }

  /** A fsynced snapshot has all up to there. */
  discardTo(index: number): void {
    if (index <= this.base.index) return;
    this.#epochs.discardTo(index);
    this.#sink.discardTo(index);
  }

  /** What was applied has been so late. */
  sawTime(timeMs: number): void {
    this.#timeMs = Math.max(this.#timeMs, timeMs);
  }

  /** A snapshot was installed: it is all there is. */
  reset(base: Position): void {
    this.#epochs = new EpochTable(base, []);
    this.#lastIndex = base.index;
    this.#written = base.index;
    this.#durable = base.index;
    this.#forgetRecent();
  }

  #forgetRecent(): void {
    this.#recent = [];
    this.#from = 0;
    this.#forgottenBytes = 0;
    this.#recentBytes = 0;
    this.#recentFirst = this.#lastIndex + 1;
  }
}
