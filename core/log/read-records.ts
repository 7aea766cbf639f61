/** Records out of a segment's file. */
import { type LogRecord, segmentSeed } from "./frame.ts";
import type { LogFile, LogFiles } from "./log-files.ts";
import type { IndexRange } from "./recover.ts";
import { beginOf, walkOver } from "./scan.ts";
import { type Segment, waypointOf } from "./segment.ts";
import { call, type Steps } from "./steps.ts";

/** What should be there does not check. */
export class DamagedRecords extends Error {
  readonly range: IndexRange;
  constructor(range: IndexRange) {
    super(`records ${range.from} to ${range.to} of the log are damaged on this disk`);
    this.range = range;
  }
}

/** From `from` on, at most to the end of the segment or so many bytes, at least one. Throws DamagedRecords if none. */
export function* readRecords(
  files: LogFiles,
  disk: string,
  segment: Segment,
  from: number,
  bytesMax: number,
): Steps<LogRecord[]> {
  const { end, nextIndex } = segment;
  const records: LogRecord[] = [];
  let bytes = 0;
  const record = (each: LogRecord): boolean => {
    if (each.index < from) return true;
    // Behind a gap: the caller comes again, and hears of it.
    if (records.length > 0 && each.index !== records.at(-1)!.index + 1) return false;
    bytes += each.bytes.length;
    if (bytes > bytesMax && records.length > 0) return false;
    records.push(each);
    return true;
  };
  // Only the gap right at what is wanted is an error; behind good records the caller comes again.
  const gap = (first: number, to: number): boolean => records.length === 0 && first <= to && to >= from;
  const place = beginOf(segmentSeed(disk, segment.firstIndex), segment.firstIndex);
  Object.assign(place, waypointOf(segment, from));
  const file = yield* call<LogFile>((done) => files.open(segment.name, "read", done));
  try {
    const ended = yield* walkOver(file, place, end, { record }, (first, to) => {
      if (gap(first, to)) throw new DamagedRecords({ from: first, to });
    });
    const missing = ended === "broken" || place.nextIndex < nextIndex;
    if (ended !== "stopped" && missing && gap(place.nextIndex, nextIndex - 1)) {
      throw new DamagedRecords({ from: place.nextIndex, to: nextIndex - 1 });
    }
    return records;
  } finally {
    yield* call((done) => file.close(done));
  }
}
