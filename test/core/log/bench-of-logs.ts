/** One log on a simulated disk, driven step by step: which of the things that are under way goes on next is random. */
import { openLog } from "../../../core/log/open-log.ts";
import type { IndexRange, Log, LogRecord } from "../../../core/log/log.ts";
import type { Random } from "../../sim/harness/random.ts";
import type { DiskFiles } from "./disk-files.ts";

export const diskId = "0123456789abcdef0123456789abcdef";

export interface Life {
  log: Log;
  torn: number;
  heard: { written: number; durable: number; full: boolean; failed: Error | null; damaged: IndexRange[] };
  /** Lets one thing go on. False when nothing is under way; timers run only if `timers`. */
  step(timers?: boolean): boolean;
  settle(): void;
}

export interface LifeOptions {
  disk?: string;
  snapshot?: { index: number; epoch: number } | null;
  durable?: number;
  segmentBytes?: number;
  aheadBytes?: number;
  tailBytes?: number;
}

/** Opens the log: with everything at once, then operations wait for `step`. */
export function live(files: DiskFiles, random: Random, options: LifeOptions = {}): Life {
  const soon: (() => void)[] = [];
  const timers: (() => void)[] = [];
  const heard: Life["heard"] = { written: 0, durable: 0, full: false, failed: null, damaged: [] };
  files.waiting = null;
  let opened: { log: Log; torn: number } | undefined;
  let failure: Error | null = null;
  openLog(
    files,
    {
      disk: options.disk ?? diskId,
      snapshot: options.snapshot ?? null,
      durable: options.durable ?? 0,
      timing: { after: (_, run) => void timers.push(run), soon: (run) => void soon.push(run) },
      listener: {
        written: (index) => void (heard.written = index),
        durable: (index) => void (heard.durable = index),
        full: (full) => void (heard.full = full),
        failed: (error) => void (heard.failed = error),
        damaged: (range) => void heard.damaged.push(range),
      },
      segmentBytes: options.segmentBytes ?? 2_048,
      aheadBytes: options.aheadBytes ?? 1_024,
      tailBytes: options.tailBytes ?? 512,
    },
    (error, value) => {
      failure = error;
      opened = value;
    },
  );
  if (failure) throw failure as Error;
  if (!opened) throw new Error("opening did not end");
  const { log, torn } = opened;
  heard.written = log.written;
  heard.durable = log.durable;
  files.waiting = [];
  const step = (alsoTimers = false): boolean => {
    const choices: (() => unknown)[] = [];
    if (files.waiting!.length > 0) choices.push(() => files.step((count) => random.integer(0, count - 1)));
    if (soon.length > 0) choices.push(() => soon.shift()!());
    if (timers.length > 0 && (alsoTimers || choices.length === 0) && alsoTimers) {
      choices.push(() => timers.splice(random.integer(0, timers.length - 1), 1)[0]!());
    }
    if (choices.length === 0) return false;
    random.pick(choices)();
    return true;
  };
  const settle = (): void => {
    while (step());
  };
  return { log, torn, heard, step, settle };
}

export function record(index: number, epoch: number, bytes: Uint8Array): LogRecord {
  return { index, epoch, bytes };
}

/** All records of a log, read as a lagging replica would. */
export function readAll(life: Life): LogRecord[] {
  const all: LogRecord[] = [];
  for (let next = life.log.firstIndex; next <= life.log.lastIndex;) {
    const read = readFrom(life, next, 700);
    if (!read || read.length === 0) throw new Error(`nothing to read at ${next}`);
    all.push(...read);
    next = all.at(-1)!.index + 1;
  }
  return all;
}

export function readFrom(life: Life, from: number, bytesMax: number): LogRecord[] | null {
  let result: { error: Error | null; records: LogRecord[] | null } | undefined;
  life.log.read(from, bytesMax, (error, records) => {
    result = { error, records: records ?? null };
  });
  life.settle();
  if (!result) throw new Error("the read did not end");
  if (result.error) throw result.error;
  return result.records;
}
