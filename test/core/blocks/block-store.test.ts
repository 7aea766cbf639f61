/** Blocks in their files: in order, readable at once, through a full disk, and gone when nothing needs them. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockStore, openBlockStore } from "../../../core/blocks/block-store.ts";
import { type Done, type LogFile, type LogFiles, NoSpace } from "../../../core/log/log-files.ts";
import { nodeFiles } from "../../../core/log/node-files.ts";

let dir: string;
let stores: BlockStore[];
let timers: (() => void)[];
let told: unknown[];
/** Asked before each write: an error is the disk's. */
let refuse: () => Error | null;
/** Writes that wait to be let through. */
let held: (() => void)[] | null;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "dvs-"));
  stores = [];
  timers = [];
  told = [];
  refuse = () => null;
  held = null;
});
afterEach(() => {
  for (const store of stores) store.close();
  rmSync(dir, { recursive: true });
});

function faulty(files: LogFiles): LogFiles {
  const wrapped = (file: LogFile): LogFile => ({
    size: (done) => file.size(done),
    write(blocks, position, done) {
      const act = (): void => {
        const error = refuse();
        if (error) done(error);
        else file.write(blocks, position, done);
      };
      if (held) held.push(act);
      else act();
    },
    datasync: (done) => file.datasync(done),
    truncate: (bytes, done) => file.truncate(bytes, done),
    read: (position, bytes, done) => file.read(position, bytes, done),
    close: (done) => file.close(done),
  });
  return {
    ...files,
    open: (name, how, done) => files.open(name, how, (error, file) => done(error, file && wrapped(file))),
  };
}

function open(max?: number): Promise<BlockStore> {
  return new Promise((resolve, reject) => {
    const done: Done<BlockStore> = (error, store) => {
      if (error) return reject(error);
      stores.push(store!);
      resolve(store!);
    };
    openBlockStore(
      {
        files: faulty(nodeFiles(dir)),
        after: (_, run) => void timers.push(run),
        full: (full) => void told.push(full),
        failed: (error) => void told.push(error),
        ...(max !== undefined && { segmentsOpenMax: max }),
      },
      done,
    );
  });
}

const written = (store: BlockStore) => new Promise<void>((resolve) => store.whenWritten(resolve));
const bytes = (length: number, seed: number) => new Uint8Array(length).map((_, i) => (i * 7 + seed) & 255);
const inFile = (segment: number) => readFileSync(join(dir, `segment-${String(segment).padStart(10, "0")}`));

test("what is written is read at once, and is in its file when that is told", async () => {
  const store = await open();
  held = [];
  store.write(1, 0, bytes(1_000, 1));
  store.write(1, 1_000, bytes(500, 2));
  store.write(2, 4_096, bytes(10, 3));
  expect(store.isWritten).toBe(false);
  expect(await store.read(1, 200, 100)).toEqual(bytes(1_000, 1).subarray(200, 300));
  expect(await store.read(1, 990, 20)).toEqual(
    new Uint8Array([...bytes(1_000, 1).subarray(990), ...bytes(500, 2).subarray(0, 10)]),
  );
  const { promise, resolve } = Promise.withResolvers<void>();
  store.whenWritten(resolve);
  while (held.length === 0) await new Promise(setImmediate);
  const let1 = held;
  held = null;
  for (const act of let1) act();
  await promise;
  expect(store.isWritten).toBe(true);
  expect(store.queuedBytes).toBe(0);
  expect(new Uint8Array(inFile(1))).toEqual(new Uint8Array([...bytes(1_000, 1), ...bytes(500, 2)]));
  expect(new Uint8Array(inFile(2).subarray(4_096))).toEqual(bytes(10, 3));
  expect(await store.read(2, 4_096, 10)).toEqual(bytes(10, 3));
});

test("blocks at the same place follow one another: the last one stays", async () => {
  const store = await open();
  for (let i = 0; i < 50; i++) store.write(1, (i % 3) * 10, bytes(20, i));
  expect(await store.read(1, 10, 20)).toEqual(bytes(20, 49));
  await written(store);
  expect(new Uint8Array(inFile(1).subarray(10, 30))).toEqual(bytes(20, 49));
});

test("many segments are read and written through few open files", async () => {
  const store = await open(4);
  for (let segment = 1; segment <= 40; segment++) store.write(segment, 0, bytes(100, segment));
  await written(store);
  const read = await Promise.all(Array.from({ length: 40 }, (_, i) => store.read(i + 1, 10, 50)));
  for (const [i, got] of read.entries()) expect(got).toEqual(bytes(100, i + 1).subarray(10, 60));
  const open_ = readdirSync("/proc/self/fd").length;
  expect(open_).toBeLessThan(200);
});

test("a full disk is told once, nothing is lost, and all follows when there is room", async () => {
  const store = await open();
  refuse = () => new NoSpace("ENOSPC");
  store.write(1, 0, bytes(100, 1));
  store.write(2, 0, bytes(100, 2));
  for (let round = 0; round < 3; round++) {
    while (timers.length === 0) await new Promise(setImmediate);
    expect(told).toEqual([true]);
    expect(store.isFull).toBe(true);
    expect(await store.read(2, 0, 100)).toEqual(bytes(100, 2));
    if (round === 2) refuse = () => null;
    for (const run of timers.splice(0)) run();
  }
  await written(store);
  expect(told).toEqual([true, false]);
  expect(new Uint8Array(inFile(2))).toEqual(bytes(100, 2));
});

test("another error of the disk is the end: nothing counts as written any more", async () => {
  const store = await open();
  refuse = () => new Error("EIO");
  store.write(1, 0, bytes(100, 1));
  while (told.length === 0) await new Promise(setImmediate);
  refuse = () => null;
  store.write(1, 100, bytes(100, 1));
  expect(told).toEqual([new Error("EIO")]);
  expect(store.isWritten).toBe(false);
});

test("what is not there is an error, and no zeros", async () => {
  const store = await open();
  store.write(1, 0, bytes(100, 1));
  await written(store);
  expect(await failureOf(store.read(1, 50, 100))).toBe("FAILED");
  expect(await failureOf(store.read(2, 0, 1))).toBe("NOT_FOUND");
  expect(() => store.write(0, 0, bytes(1, 1))).toThrow(RangeError);
  expect(() => store.write(1, -1, bytes(1, 1))).toThrow(RangeError);
});

test("a discarded segment stays until a snapshot has the record that discarded it; what nobody needs at a start, too", async () => {
  const collect = (store: BlockStore, record: number) =>
    new Promise<void>((resolve, reject) => store.collect(record, (e) => (e ? reject(e) : resolve())));
  const store = await open();
  for (const segment of [1, 2, 3]) store.write(segment, 0, bytes(100, segment));
  await written(store);
  store.discard(1, 10);
  store.discard(2, 20);
  await collect(store, 9);
  expect(readdirSync(dir)).toHaveLength(3);
  await collect(store, 10);
  expect([...store.segments]).toEqual([2, 3]);
  expect(await failureOf(store.read(1, 0, 1))).toBe("NOT_FOUND");
  expect(await store.read(2, 0, 100)).toEqual(bytes(100, 2));
  // Written again by a log that is applied once more: needed until it is discarded once more.
  store.write(2, 0, bytes(100, 2));
  await written(store);
  await collect(store, 30);
  expect(await store.read(2, 0, 100)).toEqual(bytes(100, 2));

  const again = await open();
  again.begin(40, new Map([[3, 100]]));
  await collect(again, 39);
  expect(again.segments).toEqual(new Set([2, 3]));
  await collect(again, 40);
  expect([...again.segments]).toEqual([3]);
  expect(readdirSync(dir)).toHaveLength(1);
});

/** Its code. */
async function failureOf(promise: Promise<unknown>): Promise<string> {
  const outcome: unknown = await promise.catch((e: unknown) => e);
  return (outcome as { code?: string } | null)?.code ?? "none";
}
