/**
 * What the log of one replica alone carries: append, group commit, fdatasync; no network, no state machine.
 *
 *   bun bench/log-alone.ts [--seconds 2] [--dir DIR]
 *
 * JSON lines on stdout. DIR is on the disk to be measured; the present directory otherwise.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Log } from "../core/log/log.ts";
import { nodeFiles } from "../core/log/node-files.ts";
import { openLog } from "../core/log/open-log.ts";
import { loopTiming } from "../core/log/timing.ts";
import { emit } from "./lib.ts";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "2" }, dir: { type: "string", default: "." } },
});
const seconds = Number(values.seconds);

for (const [name, writers, bytes] of [
  ["log-alone-256", 64, 256],
  ["log-alone-4k", 64, 4_096],
  ["log-alone-256-one", 1, 256],
] as const) {
  const dir = mkdtempSync(join(resolve(values.dir), "dvs-log-"));
  try {
    await measure(name, writers, bytes, dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function measure(name: string, writers: number, bytes: number, dir: string): Promise<void> {
  const waiting: { index: number; done: () => void }[] = [];
  const log = await open(dir, (index) => {
    while (waiting.length > 0 && waiting[0]!.index <= index) waiting.shift()!.done();
  });
  const body = new Uint8Array(bytes).fill(7);
  const latencies: number[] = [];
  const beganMs = performance.now();
  const untilMs = beganMs + seconds * 1_000;
  const write = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      const sentMs = performance.now();
      const index = log.lastIndex + 1;
      log.append([{ epoch: 1, index, bytes: body }]);
      await new Promise<void>((done) => waiting.push({ index, done }));
      latencies.push(performance.now() - sentMs);
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
  const took = (performance.now() - beganMs) / 1_000;
  await new Promise<void>((resolve) => log.close(() => resolve()));
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? 0;
  const detail = {
    writers,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    megabytes: (latencies.length * bytes) / took / 1e6,
  };
  emit({
    name,
    value: latencies.length / took,
    unit: "records/s",
    n: latencies.length,
    rounds: 1,
    seconds: took,
    detail,
  });
}

function open(dir: string, durable: (index: number) => void): Promise<Log> {
  const nothing = (): void => undefined;
  const failed = (error: Error): void => {
    throw error;
  };
  const listener = { written: nothing, durable, full: nothing, failed, damaged: nothing };
  const options = { disk: "0".repeat(32), snapshot: null, durable: 0, timing: loopTiming, listener };
  return new Promise((resolve, reject) =>
    openLog(nodeFiles(dir), options, (e, opened) => (e ? reject(e) : resolve(opened!.log))),
  );
}
