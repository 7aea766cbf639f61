/** Opens the log of a replica, or begins it. */
import { begin } from "./cut.ts";
import { aheadBytes, segmentBytes, tailBytes } from "./limits.ts";
import { Log, type LogListener, type LogParts } from "./log.ts";
import type { Done, LogFiles } from "./log-files.ts";
import { recover } from "./recover.ts";
import { run, type Steps } from "./steps.ts";
import { Tail } from "./tail.ts";
import { type Timing, Writer } from "./writer.ts";

export interface LogOptions {
  /** Identity of this disk: a log of another one is not taken for this one's. */
  disk: string;
  /** The newest snapshot on this disk; null: there is none. */
  snapshot: { index: number; epoch: number } | null;
  /** An index that is known to have been durable: of a clean shutdown. 0: none is. */
  durable: number;
  timing: Timing;
  listener: LogListener;
  /** For tests and simulations: small ones meet more borders. */
  segmentBytes?: number;
  aheadBytes?: number;
  tailBytes?: number;
}

export interface OpenedLog {
  log: Log;
  /** Bytes of records that were never durable and have been cut from the end. */
  torn: number;
}

/** What is in the log then is durable, but for `log.damage`. */
export function openLog(files: LogFiles, options: LogOptions, done: Done<OpenedLog>): void {
  run(open(files, options), done);
}

function* open(files: LogFiles, options: LogOptions): Steps<OpenedLog> {
  const found = yield* recover(files, options.disk, options.durable);
  const { index: base, epoch: baseEpoch } = options.snapshot ?? { index: 0, epoch: 0 };
  const sizes = {
    segmentBytes: options.segmentBytes ?? segmentBytes,
    aheadBytes: options.aheadBytes ?? aheadBytes,
  };
  const { segments, epochs, checksum } = found;
  let { lastIndex, damage } = found;
  const writer = new Writer(
    files,
    options.disk,
    segments,
    lastIndex,
    options.timing,
    options.listener,
    sizes,
  );

  const lost = segments.length === 0 && options.durable > base;
  const outdated = lastIndex < base || (lastIndex === base && checksum === null);
  let firstIndex = segments[0]?.firstIndex ?? base + 1;
  if (lost || outdated || segments.length === 0) {
    // The snapshot has more than the log, or all that there is.
    yield* begin(writer, base, baseEpoch);
    epochs.reset(base, baseEpoch);
    firstIndex = base + 1;
    lastIndex = base;
    damage = [];
  } else {
    if (epochs.at(base) === null && base >= firstIndex - 1) epochs.fill(base, [baseEpoch], lastIndex);
    const last = segments.at(-1)!;
    if (last.end === 0 && damage.at(-1)?.to !== lastIndex)
      yield* beginAgain(writer, epochs.at(lastIndex) ?? 0);
    else if (checksum !== null) yield* writer.resumeAt(checksum, epochs.at(lastIndex) ?? 0);
    // A snapshot has what damaged records before it did.
    const needless = damage.findLast((range) => range.from <= base);
    if (needless) firstIndex = Math.max(firstIndex, Math.min(needless.to, base) + 1);
    damage = damage
      .filter((range) => range.to >= firstIndex)
      .map((range) => ({ from: Math.max(range.from, firstIndex), to: range.to }));
    if (segments[0]!.firstIndex > base + 1) {
      firstIndex = base + 1;
      damage.unshift({ from: firstIndex, to: segments[0]!.firstIndex - 1 });
    }
  }
  if (lost) {
    lastIndex = options.durable;
    segments[0]!.nextIndex = lastIndex + 1;
    epochs.set(base + 1, null);
    damage = [{ from: base + 1, to: lastIndex }];
  }
  const tail = new Tail(options.tailBytes ?? tailBytes);
  const endIsLost = damage.at(-1)?.to === lastIndex;
  const { listener } = options;
  const parts: LogParts = { writer, epochs, tail, listener, firstIndex, lastIndex, damage, endIsLost };
  return { log: new Log(parts), torn: found.torn };
}

/** The last segment was named but not one frame of it was written. */
function* beginAgain(writer: Writer, epoch: number): Steps<void> {
  const { firstIndex } = writer.segments.pop()!;
  yield* writer.begin(firstIndex, epoch);
}
