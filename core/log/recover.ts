/**
 * Opens what a host process left behind, whatever ended it.
 *
 * - The end of the log that was never durable is *torn*: cut where the chain of checksums ends.
 * - What does not check although it is known to have been durable (a later mark or segment says so, or the caller) is
 *   *damage*: it stays where it is and is reported. Cutting it would lose acknowledged records without anybody's notice.
 * - What no mark vouches for is written and synced again before it counts as durable: it may be in the page cache only,
 *   and a page whose sync failed looks like one that was synced.
 */
import { DvsError } from "../errors.ts";
import { Epochs } from "./epochs.ts";
import type { LogFile, LogFiles } from "./log-files.ts";
import { type Break, readSegment, type ReadSegment } from "./recover-segment.ts";
import { firstIndexOf, type Segment } from "./segment.ts";
import { call, type Steps } from "./steps.ts";

export interface IndexRange {
  from: number;
  /** Inclusive. */
  to: number;
}

export interface Recovered {
  /** Ascending, without gaps; none when there was no log. */
  segments: Segment[];
  epochs: Epochs;
  /** The last record, damaged or not; one before the first segment when there is no record. */
  lastIndex: number;
  /** Checksum of the last frame of the last segment; null when it is damaged and the writer cannot go on from it. */
  checksum: number | null;
  damage: IndexRange[];
  /** Bytes that were cut from the end, zeros not counted as such. */
  torn: number;
}

const rewriteBytes = 256 * 1024;

/** `durable`: an index that the caller knows to have been durable, 0 if none. */
export function* recover(files: LogFiles, disk: string, durable: number): Steps<Recovered> {
  const reads = yield* readAll(files, disk);
  const epochs = new Epochs();
  const last = reads.at(-1);
  if (!last) return { segments: [], epochs, lastIndex: 0, checksum: null, damage: [], torn: 0 };

  // A segment is begun only when all before it is durable.
  let known = Math.max(durable, last.segment.firstIndex - 1);
  for (const read of reads) known = Math.max(known, read.durable);
  const damage: IndexRange[] = [];
  for (const [i, read] of reads.entries()) {
    const next = reads[i + 1];
    for (const { index, epoch } of read.epochs) epochs.set(index, epoch);
    if (!next) break;
    for (const { from, to } of read.breaks) addDamage(damage, from, to ?? next.segment.firstIndex - 1);
    if (read.segment.nextIndex > next.segment.firstIndex) throw overlap(read.segment, next.segment);
    if (read.segment.nextIndex < next.segment.firstIndex) epochs.set(read.segment.nextIndex, null);
    read.segment.nextIndex = next.segment.firstIndex;
  }

  const cut = last.breaks.findIndex((each) => each.from > known || each.to === null);
  for (const { from, to } of last.breaks.slice(0, cut)) addDamage(damage, from, to!);
  const end = last.breaks[cut]!;
  let checksum: number | null = last.checksums[cut]!;
  let torn = 0;
  if (end.from <= known) {
    addDamage(damage, end.from, known);
    epochs.set(end.from, null);
    checksum = null;
  } else {
    torn = yield* cutTail(files, last, end);
    epochs.truncateAfter(Math.max(end.from - 1, last.segment.firstIndex - 1));
  }
  const lastIndex = Math.max(end.from - 1, known);
  last.segment.nextIndex = lastIndex + 1;
  last.segment.end = end.position;
  return { segments: reads.map((read) => read.segment), epochs, lastIndex, checksum, damage, torn };
}

function* readAll(files: LogFiles, disk: string): Steps<ReadSegment[]> {
  const names = yield* call<string[]>((done) => files.list(done));
  const reads: ReadSegment[] = [];
  for (const name of names.toSorted()) {
    const firstIndex = firstIndexOf(name);
    if (firstIndex !== null) reads.push(yield* readSegment(files, name, firstIndex, disk));
  }
  return reads;
}

/** Makes the file end with the chain, and what stays durable. Returns how many bytes were there that are no zeros. */
function* cutTail(files: LogFiles, read: ReadSegment, end: Break): Steps<number> {
  const file = yield* call<LogFile>((done) => files.open(read.segment.name, "write", done));
  try {
    let torn = 0;
    for (let at = end.position; at < read.size; at += rewriteBytes) {
      const piece = yield* call<Uint8Array>((done) => file.read(at, rewriteBytes, done));
      const used = piece.findLastIndex((byte) => byte !== 0) + 1;
      if (used > 0) torn = at + used - end.position;
    }
    if (read.size > end.position) yield* call((done) => file.truncate(end.position, done));
    const from = Math.min(read.unvouched[0]?.position ?? 0, end.position);
    for (let at = from; at < end.position; at += rewriteBytes) {
      const bytes = Math.min(rewriteBytes, end.position - at);
      const piece = yield* call<Uint8Array>((done) => file.read(at, bytes, done));
      yield* call((done) => file.write([piece], at, done));
    }
    yield* call((done) => file.datasync(done));
    yield* call((done) => files.syncDirectory(done));
    return torn;
  } finally {
    yield* call((done) => file.close(done));
  }
}

function addDamage(damage: IndexRange[], from: number, to: number): void {
  if (from > to) return;
  const last = damage.at(-1);
  if (last && last.to + 1 >= from) last.to = Math.max(last.to, to);
  else damage.push({ from, to });
}

function overlap(one: Segment, other: Segment): DvsError {
  return new DvsError(
    "FAILED",
    `Cannot open the log: segment ${one.name} ends with record ${one.nextIndex - 1}, but ${other.name} follows. Files of two logs are mixed: replace this replica.`,
  );
}
