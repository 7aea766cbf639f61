/** Reads one segment from end to end, as far as marks lead over what is damaged. Decides nothing, changes nothing. */
import { type LogRecord, type Mark, segmentSeed } from "./frame.ts";
import type { LogFiles, LogFile } from "./log-files.ts";
import { beginOf, findMark, walk } from "./scan.ts";
import { noteMark, type Segment } from "./segment.ts";
import { call, type Steps } from "./steps.ts";

/** A place where no frame checks: torn or damaged, which others can tell. */
export interface Break {
  position: number;
  /** The record that should stand there. */
  from: number;
  /** The last one before the mark from which reading went on, whose epoch is the mark's; null: nothing checks any more. */
  to: number | null;
}

export interface ReadSegment {
  segment: Segment;
  size: number;
  /** The last one has `to` null: where the chain ends. */
  breaks: Break[];
  /** What its marks say was durable. */
  durable: number;
  /** Runs of epochs as they begin: of the record before the segment, and of its records; null within damage. */
  epochs: { index: number; epoch: number | null }[];
  /** Marks not known to be durable, and the last that is: from there on the file is to be written again. */
  unvouched: { nextIndex: number; position: number }[];
  /** The checksum with which each break was met, for a writer that goes on from there. */
  checksums: (number | null)[];
}

export function* readSegment(
  files: LogFiles,
  name: string,
  firstIndex: number,
  disk: string,
): Steps<ReadSegment> {
  const file = yield* call<LogFile>((done) => files.open(name, "read", done));
  try {
    return yield* readOpened(file, name, firstIndex, disk);
  } finally {
    yield* call((done) => file.close(done));
  }
}

function* readOpened(file: LogFile, name: string, firstIndex: number, disk: string): Steps<ReadSegment> {
  const size = yield* call<number>((done) => file.size(done));
  const waypoints = [{ nextIndex: firstIndex, position: 0 }];
  const segment: Segment = { name, firstIndex, nextIndex: firstIndex, end: 0, waypoints };
  const read: ReadSegment = {
    ...{ segment, size, breaks: [], durable: 0, epochs: [], unvouched: [], checksums: [] },
  };
  const noteEpoch = (index: number, epoch: number | null): void => {
    if (read.epochs.length === 0 || read.epochs.at(-1)!.epoch !== epoch) read.epochs.push({ index, epoch });
  };
  const visitor = {
    record: ({ index, epoch }: LogRecord): void => noteEpoch(index, epoch),
    mark(mark: Mark): void {
      if (mark.position === 0) noteEpoch(mark.nextIndex - 1, mark.epoch);
      noteMark(segment, mark);
      read.durable = Math.max(read.durable, mark.durable);
      read.unvouched.push({ nextIndex: mark.nextIndex, position: mark.position });
      while (read.unvouched.length > 1 && read.unvouched[1]!.nextIndex <= read.durable + 1)
        read.unvouched.shift();
    },
  };
  const place = beginOf(segmentSeed(disk, firstIndex), firstIndex);
  for (;;) {
    yield* walk(file, place, size, visitor);
    segment.nextIndex = place.nextIndex;
    segment.end = place.position;
    const mark: Mark | null = yield* findMark(file, place, size);
    read.breaks.push({
      position: place.position,
      from: place.nextIndex,
      to: mark === null ? null : mark.nextIndex - 1,
    });
    read.checksums.push(place.checksum);
    if (!mark) return read;
    noteEpoch(place.nextIndex, null);
    // The record before the mark is one of the damaged; its epoch is all that is known of it.
    if (mark.nextIndex > place.nextIndex) noteEpoch(mark.nextIndex - 1, mark.epoch);
    Object.assign(place, { position: mark.position, nextIndex: mark.nextIndex, epoch: null, checksum: null });
  }
}
