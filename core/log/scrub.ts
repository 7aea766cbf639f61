/** Reads the whole log again and again, slowly, to find what the disk no longer has as it was written. */
import { segmentSeed } from "./frame.ts";
import { scrubBytesPerSecond } from "./limits.ts";
import type { Log } from "./log.ts";
import type { LogFile, LogFiles } from "./log-files.ts";
import type { IndexRange } from "./recover.ts";
import { beginOf, walkOver } from "./scan.ts";
import type { Segment } from "./segment.ts";
import { call, run, type Steps } from "./steps.ts";
import type { Timing } from "./writer.ts";

/** A log that is small, or has failed, is looked at again after this. */
const restMs = 60_000;

export interface ScrubOptions {
  files: LogFiles;
  disk: string;
  timing: Timing;
  bytesPerSecond?: number;
}

/** Damage goes to the log's listener. Returns how to stop. */
export function startScrub(log: Log, options: ScrubOptions): () => void {
  let stopped = false;
  const { timing } = options;
  const rate = options.bytesPerSecond ?? scrubBytesPerSecond;
  function* pause(bytes: number): Steps<void> {
    yield* call((done) => timing.after((bytes / rate) * 1_000, () => done(null)));
    if (stopped) throw new Stopped();
  }
  const round = (): void => {
    if (stopped || log.failed) return;
    run(scrubOnce(log, options, pause), (error) => {
      if (!(error instanceof Stopped)) timing.after(restMs, round);
    });
  };
  round();
  return () => {
    stopped = true;
  };
}

class Stopped extends Error {}

/** One round over all segments. */
export function* scrubOnce(
  log: Log,
  { files, disk }: Pick<ScrubOptions, "files" | "disk">,
  pause?: (bytes: number) => Steps<void>,
): Steps<void> {
  for (const segment of [...log.segments]) {
    const found = yield* damageOf(files, disk, segment, pause);
    // What looks damaged is read a second time: it may have been cut or repaired meanwhile, or the bus was at fault.
    if (found.length === 0 || !log.segments.includes(segment)) continue;
    for (const range of yield* damageOf(files, disk, segment)) log.noteDamage(range);
  }
}

function* damageOf(
  files: LogFiles,
  disk: string,
  segment: Segment,
  pause?: (bytes: number) => Steps<void>,
): Steps<IndexRange[]> {
  const { end, nextIndex } = segment;
  const found: IndexRange[] = [];
  const damaged = (from: number, to: number): void => void found.push({ from, to });
  const place = beginOf(segmentSeed(disk, segment.firstIndex), segment.firstIndex);
  let file: LogFile;
  try {
    file = yield* call<LogFile>((done) => files.open(segment.name, "read", done));
  } catch {
    return found; // It has been given back meanwhile.
  }
  try {
    const ended = yield* walkOver(file, place, end, pause ? { pause } : {}, damaged);
    if (ended === "broken" && place.nextIndex < nextIndex) damaged(place.nextIndex, nextIndex - 1);
    return found;
  } finally {
    yield* call((done) => file.close(done));
  }
}
