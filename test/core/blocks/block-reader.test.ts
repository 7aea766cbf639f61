/** Segments as a container beside the replica reads them. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockReader } from "../../../core/blocks/block-reader.ts";
import { segmentName } from "../../../core/blocks/segment-name.ts";

let dir: string;
let reader: BlockReader;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "dvs-"));
  reader = new BlockReader(dir);
});
afterEach(() => {
  reader.close();
  rmSync(dir, { recursive: true });
});

const path = (segment: number) => join(dir, segmentName(segment));
const bytes = (length: number, seed: number) => new Uint8Array(length).map((_, i) => (i * 7 + seed) & 255);

test("it reads what is there, at once or not, and what was appended since", async () => {
  writeFileSync(path(1), bytes(200_000, 1));
  expect(reader.readNow(1, 100, 65_536)).toEqual(bytes(200_000, 1).subarray(100, 65_636));
  expect(reader.readNow(1, 0, 65_537)).toBeNull();
  expect(await reader.read(1, 0, 200_000)).toEqual(bytes(200_000, 1));
  expect(reader.readNow(1, 200_000, 10)).toBeNull();
  appendFileSync(path(1), bytes(10, 2));
  expect(reader.readNow(1, 200_000, 10)).toEqual(bytes(10, 2));
});

test("a segment that is gone is no bytes, and one that was made anew is found", async () => {
  expect(reader.readNow(1, 0, 1)).toBeNull();
  const gone: unknown = await reader.read(1, 0, 1).catch((e: unknown) => e);
  expect(gone).toMatchObject({ code: "NOT_FOUND" });
  writeFileSync(path(1), bytes(10, 1));
  expect(reader.readNow(1, 0, 10)).toEqual(bytes(10, 1));
  rmSync(path(1));
  writeFileSync(path(1), bytes(20, 1));
  expect(reader.readNow(1, 0, 20)).toEqual(bytes(20, 1));
  expect(await reader.read(1, 5, 15)).toEqual(bytes(20, 1).subarray(5));
  const short: unknown = await reader.read(1, 0, 21).catch((e: unknown) => e);
  expect(short).toMatchObject({ code: "FAILED" });
});

test("many segments are read through few open files, also while reads are under way", async () => {
  for (let segment = 1; segment <= 400; segment++) writeFileSync(path(segment), bytes(1_000, segment));
  const all = Array.from({ length: 400 }, (_, i) => reader.read(i + 1, 10, 100));
  for (const [i, read] of all.entries()) expect(await read).toEqual(bytes(1_000, i + 1).subarray(10, 110));
  expect(readdirSync("/proc/self/fd").length).toBeLessThan(330);
});
