/** The newest records in memory: what is not written yet, and behind it as much as fits, for replicas that lag a little. */
import type { LogRecord } from "./frame.ts";

/** Removed entries are given back in steps of so many, or when they are as many bytes as the tail may have. */
const compactAt = 4_096;

export class Tail {
  readonly #bytesMax: number;
  #records: LogRecord[] = [];
  /** How many at the begin of the array have been dropped. */
  #dropped = 0;
  #bytes = 0;
  /** Of those that have been dropped and not yet given back. */
  #droppedBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Of the oldest; Infinity when it is empty. */
  get firstIndex(): number {
    return this.#records[this.#dropped]?.index ?? Infinity;
  }

  push(record: LogRecord): void {
    this.#records.push(record);
    this.#bytes += record.bytes.length;
  }

  /** Records from `from` on, of at most so many bytes but at least one; `from` is in the tail. */
  read(from: number, bytesMax: number): LogRecord[] {
    const first = this.#dropped + from - this.firstIndex;
    let end = first;
    let bytes = 0;
    while (end < this.#records.length) {
      bytes += this.#records[end]!.bytes.length;
      if (bytes > bytesMax && end > first) break;
      end++;
    }
    return this.#records.slice(first, end);
  }

  /** Drops the oldest while there are too many bytes; never one that is not written. */
  shrink(written: number): void {
    while (this.#bytes > this.#bytesMax && this.firstIndex <= written) {
      const { length } = this.#records[this.#dropped]!.bytes;
      this.#bytes -= length;
      this.#droppedBytes += length;
      this.#dropped++;
    }
    const many = this.#dropped >= compactAt && this.#dropped * 2 >= this.#records.length;
    if (!many && this.#droppedBytes < this.#bytesMax) return;
    this.#records = this.#records.slice(this.#dropped);
    this.#dropped = 0;
    this.#droppedBytes = 0;
  }

  truncateAfter(index: number): void {
    while (this.#records.length > this.#dropped && this.#records.at(-1)!.index > index) {
      this.#bytes -= this.#records.pop()!.bytes.length;
    }
  }

  clear(): void {
    this.#records = [];
    this.#dropped = 0;
    this.#droppedBytes = 0;
    this.#bytes = 0;
  }
}
