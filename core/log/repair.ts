/** Puts good records in the place of damaged ones: a new file of the whole segment, which then takes the name of the old. */
import { encodeGroup } from "./encode-group.ts";
import { type LogRecord, segmentSeed } from "./frame.ts";
import { type LogFile } from "./log-files.ts";
import type { IndexRange } from "./recover.ts";
import { beginOf, walkOver } from "./scan.ts";
import { noteMark, type Segment } from "./segment.ts";
import { call, type Steps } from "./steps.ts";
import type { Writer } from "./writer.ts";

/** The file that is being made. One that a crash left behind is overwritten by the next repair. */
const temporaryName = "repair";
const groupBytes = 256 * 1024;

/** What was given is not enough. Nothing has changed. */
export class CannotRepair extends Error {
  /** The record that is missing; 0: no record would do. */
  readonly index: number;
  constructor(why: string, index = 0) {
    super(why);
    this.index = index;
  }
}

/** A job of the writer. Throws CannotRepair. */
export function* repair(writer: Writer, damage: readonly IndexRange[], records: LogRecord[]): Steps<void> {
  const good = new Map(records.map((record) => [record.index, record]));
  for (const { from, to } of damage) {
    for (let index = from; index <= to; index++) {
      if (!good.has(index)) throw missing(index);
    }
  }
  if (damage.some(({ from }) => from < writer.segments[0]!.firstIndex)) {
    throw new CannotRepair("the log's first segment is missing: it has to begin anew, with a snapshot");
  }
  yield* writer.settle();
  for (const segment of writer.segments) {
    if (!damage.some(({ from, to }) => from < segment.nextIndex && to >= segment.firstIndex)) continue;
    const place = yield* rewrite(writer, segment, good);
    if (segment === writer.segments.at(-1)) yield* writer.resumeAt(place.checksum, place.epoch);
  }
}

function* rewrite(
  { files, disk }: Writer,
  segment: Segment,
  good: Map<number, LogRecord>,
): Steps<{ checksum: number; epoch: number }> {
  const { records, epochBefore } = yield* readGood({ files, disk }, segment);
  const all: LogRecord[] = [];
  for (let index = segment.firstIndex; index < segment.nextIndex; index++) {
    const record = records.get(index) ?? good.get(index);
    if (!record) throw missing(index);
    all.push(record);
  }
  const file = yield* call<LogFile>((done) => files.open(temporaryName, "create", done));
  const seed = segmentSeed(disk, segment.firstIndex);
  const next: Segment = { ...segment, end: 0, waypoints: [{ nextIndex: segment.firstIndex, position: 0 }] };
  let epoch = epochBefore ?? 0;
  let checksum = 0;
  try {
    let at = 0;
    do {
      const group: LogRecord[] = [];
      for (let bytes = 0; at < all.length && bytes < groupBytes; at++) {
        group.push(all[at]!);
        bytes += all[at]!.bytes.length;
      }
      const nextIndex = group[0]?.index ?? segment.firstIndex;
      const mark = { epoch, nextIndex, durable: nextIndex - 1, previous: checksum, position: next.end };
      const encoded = encodeGroup(group, mark, seed);
      yield* call((done) => file.write(encoded.blocks, next.end, done));
      noteMark(next, mark);
      next.end += encoded.bytes;
      checksum = encoded.checksum;
      epoch = group.at(-1)?.epoch ?? epoch;
    } while (at < all.length);
    yield* call((done) => file.datasync(done));
  } finally {
    yield* call((done) => file.close(done));
  }
  yield* call((done) => files.rename(temporaryName, segment.name, done));
  yield* call((done) => files.syncDirectory(done));
  Object.assign(segment, { end: next.end, waypoints: next.waypoints });
  return { checksum, epoch };
}

function missing(index: number): CannotRepair {
  return new CannotRepair(`record ${index} of the log is damaged and was not given for its repair`, index);
}

function* readGood(
  { files, disk }: Pick<Writer, "files" | "disk">,
  segment: Segment,
): Steps<{ records: Map<number, LogRecord>; epochBefore: number | null }> {
  const records = new Map<number, LogRecord>();
  let epochBefore: number | null = null;
  const place = beginOf(segmentSeed(disk, segment.firstIndex), segment.firstIndex);
  const file = yield* call<LogFile>((done) => files.open(segment.name, "read", done));
  try {
    const visitor = {
      record: (record: LogRecord): void => void records.set(record.index, record),
      mark: (mark: { position: number; epoch: number }): void => {
        if (mark.position === 0) epochBefore = mark.epoch;
      },
    };
    yield* walkOver(file, place, segment.end, visitor, () => {});
    return { records, epochBefore };
  } finally {
    yield* call((done) => file.close(done));
  }
}
