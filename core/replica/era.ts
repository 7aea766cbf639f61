/**
 * Revisions that are given out once, though records were lost.
 *
 * A record's index is given out again when acknowledged records are given up: by a person (`dvs instance recover`), or
 * with the power of all replicas that had them unsynced. Whoever takes up from there takes the first epoch of the next
 * *era*, and a revision is the era and the index in one number: it rises along the log, in the first era it is the
 * index, and none of a lost record comes again, unless more records were lost than one era has room for.
 */
import type { LogRecord } from "./record.ts";

/** Epochs of an era: one that ends by itself, after so many changes of the primary, does no harm. */
const epochsPerEra = 2 ** 20;
/** A year and a half of 20,000 records a second; there are eras enough for 8,000 losses of one instance. */
const recordsPerEra = 2 ** 40;

export function eraOf(epoch: number): number {
  return Math.floor(epoch / epochsPerEra);
}

/** The first epoch after a loss: above all others before it. */
export function nextEra(epoch: number): number {
  return (eraOf(epoch) + 1) * epochsPerEra;
}

/** What is told of a record, so that it can be known again: above those of all records before it. */
export function revisionOf({ epoch, index }: Pick<LogRecord, "epoch" | "index">): number {
  return eraOf(epoch) * recordsPerEra + index;
}
