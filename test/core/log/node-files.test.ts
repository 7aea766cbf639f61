/** The log on a real disk: operations of the file interface, and a host process that is killed while it writes. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log, LogRecord } from "../../../core/log/log.ts";
import type { LogFile } from "../../../core/log/log-files.ts";
import { nodeFiles } from "../../../core/log/node-files.ts";
import { openLog } from "../../../core/log/open-log.ts";
import { call, promised, type Steps } from "../../../core/log/steps.ts";
import { loopTiming } from "../../../core/log/timing.ts";
import { diskId } from "./bench-of-logs.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "dvs-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

function open(): Promise<Log> {
  const nothing = (): void => undefined;
  const listener = { written: nothing, durable: nothing, full: nothing, failed: nothing, damaged: nothing };
  const options = { disk: diskId, snapshot: null, durable: 0, timing: loopTiming, listener };
  return new Promise((resolve, reject) =>
    openLog(nodeFiles(dir), options, (e, opened) => (e ? reject(e) : resolve(opened!.log))),
  );
}

const close = (log: Log) =>
  new Promise<void>((resolve, reject) => log.close((e) => (e ? reject(e) : resolve())));

async function readAll(log: Log): Promise<LogRecord[]> {
  const all: LogRecord[] = [];
  while (all.length < log.lastIndex) {
    const records = await new Promise<LogRecord[]>((resolve, reject) =>
      log.read(all.length + 1, 100_000, (e, found) => (e ? reject(e) : resolve(found!))),
    );
    all.push(...records);
  }
  return all;
}

test("many blocks are written as one, at the place, and read back; a cut file is shorter", async () => {
  const files = nodeFiles(dir);
  const bytes = await promised(
    (function* (): Steps<Uint8Array> {
      const file = yield* call<LogFile>((done) => files.open("f", "create", done));
      const blocks = Array.from({ length: 3_000 }, (_, i) => new Uint8Array(i % 7).fill(i));
      yield* call((done) => file.write(blocks, 10, done));
      yield* call((done) => file.datasync(done));
      const size = yield* call<number>((done) => file.size(done));
      expect(size).toBe(10 + blocks.reduce((sum, block) => sum + block.length, 0));
      const all = yield* call<Uint8Array>((done) => file.read(0, size + 100, done));
      expect(all.length).toBe(size);
      expect(all.subarray(0, 10)).toEqual(new Uint8Array(10));
      expect(Buffer.from(all.subarray(10))).toEqual(Buffer.concat(blocks));
      yield* call((done) => file.truncate(5, done));
      yield* call((done) => file.close(done));
      yield* call((done) => files.rename("f", "g", done));
      yield* call((done) => files.syncDirectory(done));
      yield* call((done) => files.remove("f", done));
      expect(yield* call<string[]>((done) => files.list(done))).toEqual(["g"]);
      const again = yield* call<LogFile>((done) => files.open("g", "read", done));
      const rest = yield* call<Uint8Array>((done) => again.read(0, 100, done));
      yield* call((done) => again.close(done));
      return rest;
    })(),
  );
  expect(bytes).toEqual(new Uint8Array(5));
  expect(statSync(join(dir, "g")).mode & 0o777).toBe(0o600);
  const missing = promised(call((done) => files.open("none", "write", done))).catch((e: unknown) => e);
  expect(await missing).toMatchObject({ code: "ENOENT" });
});

test("a log comes back after an orderly end", async () => {
  const log = await open();
  const records = Array.from({ length: 2_000 }, (_, i) => ({
    ...{ epoch: 1 + (i >> 9), index: i + 1, bytes: new Uint8Array(i % 50 === 0 ? 20_000 : i % 300).fill(i) },
  }));
  for (let at = 0; at < records.length; at += 100) log.append(records.slice(at, at + 100));
  await close(log);
  const again = await open();
  expect(again.durable).toBe(2_000);
  const found = await readAll(again);
  expect(
    found.every(({ epoch, index, bytes }, i) => {
      const wanted = records[i]!;
      return epoch === wanted.epoch && index === wanted.index && Buffer.compare(bytes, wanted.bytes) === 0;
    }),
  ).toBe(true);
  await close(again);
});

test("a host process that is killed while it writes loses nothing that was durable", async () => {
  let durable = 0;
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, [join(import.meta.dirname, "appending-process.ts"), dir], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      // Some of it was told; more is under way.
      if (output.split("\n").length > 3 + round) child.kill("SIGKILL");
    });
    await ended;
    const told = output.split("\n").slice(0, -1).map(Number);
    expect(told.length).toBeGreaterThan(0);
    durable = Math.max(durable, ...told);
    const log = await open();
    expect(log.damage).toEqual([]);
    expect(log.lastIndex).toBeGreaterThanOrEqual(durable);
    for (const { index, bytes } of await readAll(log)) {
      if (bytes.some((byte) => byte !== index % 256)) throw new Error(`record ${index} is wrong`);
    }
    await close(log);
  }
});
