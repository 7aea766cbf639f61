/** What a snapshot names has to be on the disk before it counts. For a helper host process: it takes its time. */
import { DvsError } from "../errors.ts";
import type { LogFile, LogFiles } from "../log/log-files.ts";
import { nodeFiles } from "../log/node-files.ts";
import { call, promised, type Steps } from "../log/steps.ts";
import { segmentName } from "./segment-name.ts";

type Segments = readonly (readonly [segment: number, length: number])[];

/**
 * `before` is on the disk already, by an older snapshot: what grew since is synced. Rejects with FAILED where a segment
 * is shorter, and with what the disk says where it is not there.
 */
export function syncSegments(dir: string, segments: Segments, before: Segments): Promise<void> {
  return promised(syncGrown(nodeFiles(dir), segments, before));
}

export function* syncGrown(files: LogFiles, segments: Segments, before: Segments): Steps<void> {
  const known = new Map(before);
  const grown = segments.filter(([segment, length]) => length > (known.get(segment) ?? 0));
  for (const [segment, length] of grown) {
    const name = segmentName(segment);
    // fdatasync(2) wants no more than a file that can be read.
    const file = yield* call<LogFile>((done) => files.open(name, "read", done));
    try {
      const size = yield* call<number>((done) => file.size(done));
      if (size < length)
        throw new DvsError("FAILED", `Cannot sync ${name}: it has ${size} bytes of ${length}.`);
      yield* call((done) => file.datasync(done));
    } finally {
      yield* call((done) => file.close(done));
    }
  }
  if (grown.length > 0) yield* call((done) => files.syncDirectory(done));
}
