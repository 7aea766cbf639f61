/**
 * The small file by which programs beside a state process may read the database themselves (DESIGN.md section 5, rule
 * 5): until when, and per bucket of keys what is prepared. It outlives the process that wrote it, and its stops.
 */
import type { LogRecord } from "../../../core/replica/record.ts";
import { notClean } from "../../../core/state/guard.ts";

export class Guard {
  #untilMs = -Infinity;
  #prepared = new Map<number, number>();
  #preparedAll = 0;
  #committed: number;

  /** `lastIndex`: of the log; nothing is known of what those records touch. */
  constructor(lastIndex: number, committed: number) {
    this.#preparedAll = lastIndex;
    this.#committed = committed;
  }

  lease(untilMs: number): void {
    this.#untilMs = untilMs;
  }

  prepared(records: readonly LogRecord[], touched: (record: LogRecord) => readonly number[] | null): void {
    for (const record of records) {
      const buckets = touched(record);
      if (buckets === null) this.#preparedAll = record.index;
      else for (const bucket of buckets) this.#prepared.set(bucket, record.index);
    }
  }

  committed(index: number): void {
    this.#committed = index;
  }

  /** Whether the database tells, at this time, what the keys in these buckets are. */
  allows(buckets: readonly number[], nowMs: number): boolean {
    return nowMs < this.#untilMs && buckets.every((bucket) => this.last(bucket, nowMs) !== notClean);
  }

  /** The last record that may have changed what is in the bucket, or `notClean`. */
  last(bucket: number, nowMs: number): number {
    const prepared = Math.max(this.#preparedAll, this.#prepared.get(bucket) ?? 0);
    return nowMs < this.#untilMs && prepared <= this.#committed ? prepared : notClean;
  }
}
