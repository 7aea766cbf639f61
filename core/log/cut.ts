/** Changes of the log's segments as a whole. Each leaves, at every moment, files from which the log can be recovered. */
import { type LogRecord, type Mark, markBytes, segmentSeed } from "./frame.ts";
import { type LogFile, type LogFiles, NoSpace } from "./log-files.ts";
import { beginOf, findMark, type Place, walk } from "./scan.ts";
import { type Segment, waypointOf } from "./segment.ts";
import { call, type Steps } from "./steps.ts";
import type { Writer } from "./writer.ts";

/** Cuts what the writer was told to forget. */
export function* cut(writer: Writer): Steps<void> {
  const index = writer.cutAfter;
  const { segments, files } = writer;
  if (segments.at(-1)!.nextIndex - 1 <= index) return writer.cutDone(index);
  yield* writer.settle();
  // The newest first and for good before the next step: a segment says that all before it is durable.
  while (segments.length > 1 && segments.at(-1)!.firstIndex > index) {
    const { name } = segments.at(-1)!;
    yield* call((done) => files.remove(name, done));
    yield* call((done) => files.syncDirectory(done));
    segments.pop();
  }
  const segment = segments.at(-1)!;
  const place = yield* placeAfter(writer, segment, index);
  segment.nextIndex = index + 1;
  segment.end = place.position;
  segment.waypoints = segment.waypoints.filter((each) => each.position < place.position);
  const file = yield* call<LogFile>((done) => files.open(segment.name, "write", done));
  try {
    yield* call((done) => file.truncate(place.position, done));
    yield* call((done) => file.datasync(done));
  } finally {
    yield* call((done) => file.close(done));
  }
  writer.cutDone(index);
  yield* writer.resumeAt(place.checksum!, place.epoch ?? 0);
}

/** Where the frame of the record after `index` begins; that one, and others before, may be damaged. */
function* placeAfter({ files, disk }: Writer, segment: Segment, index: number): Steps<Place> {
  const place = beginOf(segmentSeed(disk, segment.firstIndex), segment.firstIndex);
  const from = waypointOf(segment, index + 1);
  place.position = from.position;
  place.nextIndex = from.nextIndex;
  const file = yield* call<LogFile>((done) => files.open(segment.name, "read", done));
  try {
    const visitor = { record: (record: LogRecord): boolean => record.index <= index };
    while ((yield* walk(file, place, segment.end, visitor)) === "broken" && place.nextIndex <= index) {
      const mark: Mark | null = yield* findMark(file, place, segment.end);
      if (!mark) break;
      const { position, nextIndex } = mark;
      Object.assign(place, { position, nextIndex, epoch: null, checksum: null });
    }
  } finally {
    yield* call((done) => file.close(done));
  }
  if (place.nextIndex !== index + 1 || place.checksum === null || place.position < markBytes) {
    throw new Error(
      `cannot cut the log after record ${index}: what is before it in ${segment.name} is damaged`,
    );
  }
  return place;
}

/** Removes whole segments that hold nothing above `index`, the oldest first, but never the last one. */
export function* discard(files: LogFiles, segments: Segment[], index: number): Steps<void> {
  let removed = false;
  while (segments.length > 1 && segments[1]!.firstIndex <= index + 1) {
    const { name } = segments[0]!;
    segments.shift();
    removed = true;
    yield* call((done) => files.remove(name, done));
  }
  if (removed) yield* call((done) => files.syncDirectory(done));
}

/** Forgets all records and begins anew after `index`, whose state the caller has made durable elsewhere. */
export function* begin(writer: Writer, index: number, epoch: number): Steps<void> {
  const { segments, files } = writer;
  while (segments.length > 0) {
    const { name } = segments.at(-1)!;
    yield* call((done) => files.remove(name, done));
    segments.pop();
  }
  yield* call((done) => files.syncDirectory(done));
  writer.cutDone(-1);
  try {
    yield* writer.begin(index + 1, epoch);
  } catch (e) {
    // The old segments are gone, so there is nothing to go back to.
    throw e instanceof NoSpace ? new Error(`cannot begin a log: ${e.message}`, { cause: e }) : e;
  }
}
