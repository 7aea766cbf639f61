/** The log in use: what is told when, reading, cutting, beginning anew, and a disk that is full or fails. */
import { expect, test } from "bun:test";
import type { LogRecord } from "../../../core/log/log.ts";
import { Disk } from "../../sim/harness/disk.ts";
import { Random } from "../../sim/harness/random.ts";
import { type Life, live, type LifeOptions, readAll, readFrom, record } from "./bench-of-logs.ts";
import { DiskFiles } from "./disk-files.ts";

function begin(options: LifeOptions = {}): { files: DiskFiles; random: Random; life: Life } {
  const random = new Random(7);
  const files = new DiskFiles(new Disk(random));
  return { files, random, life: live(files, random, options) };
}

function some(life: Life, count: number, epoch = 1, bytes = 100): LogRecord[] {
  const first = life.log.lastIndex + 1;
  const records = Array.from({ length: count }, (_, i) =>
    record(first + i, epoch, new Uint8Array(bytes).fill(i)),
  );
  life.log.append(records);
  return records;
}

test("records are written, then durable; all that wait share one write and one sync", () => {
  const { files, life } = begin({ segmentBytes: 1 << 20 });
  const operations: string[] = [];
  files.onOperation = (what) => void operations.push(what);
  some(life, 1);
  while (life.heard.written < 1) life.step();
  expect(life.heard.durable).toBe(0);
  for (let i = 0; i < 50; i++) some(life, 1);
  life.settle();
  expect(life.heard).toMatchObject({ written: 51, durable: 51 });
  expect(operations.filter((what) => what === "write")).toHaveLength(2);
  expect(operations.filter((what) => what === "datasync")).toHaveLength(2);
});

test("where nobody waits for it, syncs come late, and writes do not wait for them", () => {
  const { files, life } = begin({ segmentBytes: 1 << 20 });
  life.log.eager = false;
  const operations: string[] = [];
  files.onOperation = (what) => void operations.push(what);
  for (let i = 0; i < 5; i++) {
    some(life, 1);
    life.settle();
  }
  expect(life.heard).toMatchObject({ written: 5, durable: 0 });
  while (life.heard.durable < 5 && life.step(true));
  expect(operations.filter((what) => what === "datasync")).toHaveLength(1);
  some(life, 1);
  life.log.wantDurable();
  life.settle();
  expect(life.heard.durable).toBe(6);
  some(life, 1);
  life.settle();
  expect(life.heard.durable).toBe(6);
  life.log.eager = true;
  life.settle();
  expect(life.heard.durable).toBe(7);
});

test("records that have a gap, or fall in number, are a defect of whoever appends them", () => {
  const { life } = begin();
  some(life, 3);
  for (const index of [3, 5, 0]) {
    expect(() => life.log.append([record(index, 1, new Uint8Array(1))])).toThrow("cannot follow");
  }
});

test("records are read from memory while they are new, from the disk afterwards, within the bytes that were asked for", () => {
  const { files, life } = begin({ tailBytes: 1_000 });
  const records = some(life, 60);
  // Not yet written, and there.
  expect(readAll(life)).toEqual(records);
  life.settle();
  some(life, 1);
  life.settle();
  const opened: string[] = [];
  files.onOperation = (what, name) => void (what === "open" && opened.push(name));
  expect(readFrom(life, 58, 10_000)!.map(({ index }) => index)).toEqual([58, 59, 60, 61]);
  expect(opened).toEqual([]);
  const old = readFrom(life, 3, 350)!;
  expect(opened).toHaveLength(1);
  expect(old.map(({ index }) => index)).toEqual([3, 4, 5]);
  expect(readFrom(life, 3, 1)).toHaveLength(1);
  expect(readFrom(life, 62, 10)).toEqual([]);
  expect(readAll(life).slice(0, 60)).toEqual(records);
});

test("an empty record and one larger than a segment come back", () => {
  const { files, random, life } = begin({ segmentBytes: 4_096 });
  const records = [
    ...some(life, 2, 1, 0),
    ...some(life, 1, 1, 100_000),
    ...some(life, 2, 1, 9_000),
    ...some(life, 1, 2, 1),
  ];
  life.settle();
  expect(readAll(live(files, random, { segmentBytes: 4_096 }))).toEqual(records);
});

test("after a cut, reports speak of newer records only, and what was cut is gone", () => {
  const { files, random, life } = begin();
  some(life, 30);
  life.settle();
  const heard: number[] = [];
  some(life, 5);
  life.step();
  life.log.truncateAfter(20);
  life.heard.written = 20;
  life.heard.durable = 20;
  expect([life.log.lastIndex, life.log.written, life.log.durable]).toEqual([20, 20, 20]);
  expect(life.log.epochAt(21)).toBeNull();
  some(life, 3, 2);
  while (life.step()) {
    heard.push(life.heard.durable);
    expect(life.log.durable).toBeLessThanOrEqual(life.log.lastIndex);
  }
  expect(new Set(heard)).toEqual(new Set([20, 23]));
  expect(readAll(life).map(({ epoch }) => epoch)).toEqual([...Array<number>(20).fill(1), 2, 2, 2]);
  expect(readAll(live(files, random)).map(({ epoch }) => epoch)).toEqual([
    ...Array<number>(20).fill(1),
    2,
    2,
    2,
  ]);
});

test("old segments are given back up to a snapshot, never what is above it or not durable", () => {
  const { files, random, life } = begin();
  some(life, 60);
  life.settle();
  const before = files.disk.names().length;
  life.log.discardUpTo(40);
  life.settle();
  expect(files.disk.names().length).toBeLessThan(before);
  expect(life.log.firstIndex).toBeGreaterThan(1);
  expect(life.log.firstIndex).toBeLessThanOrEqual(41);
  expect(readFrom(life, 1, 10)).toBeNull();
  expect(readFrom(life, 41, 1)![0]!.index).toBe(41);
  const { firstIndex } = life.log;
  expect(life.log.epochAt(firstIndex - 1)).toBe(1);
  expect(live(files, random, { snapshot: { index: 40, epoch: 1 } }).log.firstIndex).toBe(firstIndex);
});

test("a log begins anew behind a snapshot, also when the power fails on the way", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new Random(seed);
    const files = new DiskFiles(new Disk(random));
    let life = live(files, random);
    some(life, random.integer(1, 40));
    life.settle();
    let done = false;
    const snapshot = { index: 1_000, epoch: 7 };
    life.log.reset(snapshot.index, snapshot.epoch, (error) => {
      expect(error).toBeNull();
      done = true;
    });
    for (let steps = random.integer(0, 15); steps > 0; steps--) life.step();
    if (done) {
      expect([life.log.firstIndex, life.log.lastIndex, life.log.epochAt(1_000)]).toEqual([1_001, 1_000, 7]);
      some(life, 3, 8);
      for (let steps = random.integer(0, 6); steps > 0; steps--) life.step();
    }
    const { durable } = life.heard;
    files.disk.powerCut();
    life = live(files, random, { snapshot });
    expect(life.log.damage).toEqual([]);
    expect([life.log.firstIndex, life.log.epochAt(1_000)]).toEqual([1_001, 7]);
    expect(life.log.lastIndex).toBeGreaterThanOrEqual(Math.max(1_000, done ? durable : 0));
    some(life, 1, 9);
    life.settle();
    expect(life.heard.durable).toBe(life.log.lastIndex);
  }
});

test("a disk that is full loses nothing: it is told, reads go on, and what was appended follows when there is room", () => {
  const { files, random, life } = begin();
  const records = some(life, 20);
  life.settle();
  files.disk.bytesMax = 4_000;
  records.push(...some(life, 30));
  life.settle();
  expect(life.heard).toMatchObject({ full: true, failed: null });
  const { durable } = life.heard;
  expect(durable).toBeLessThan(50);
  expect(readAll(life)).toEqual(records);
  for (let tries = 0; tries < 10; tries++) life.step(true);
  expect(life.heard).toMatchObject({ full: true, durable });
  // It can be cut and given back meanwhile.
  life.log.truncateAfter(45);
  life.log.discardUpTo(10);
  life.settle();
  files.disk.bytesMax = Infinity;
  while (life.heard.durable < 45 && life.step(true));
  expect(life.heard).toMatchObject({ full: false, durable: 45, failed: null });
  const again = live(files, random, { snapshot: { index: 10, epoch: 1 } });
  expect(again.log.damage).toEqual([]);
  expect(again.log.lastIndex).toBe(45);
});

test("a log of which nothing waits finds out by itself that a full disk has room again", () => {
  const { files, life } = begin();
  some(life, 20);
  life.settle();
  files.disk.bytesMax = 4_000;
  some(life, 30);
  life.settle();
  expect(life.heard.full).toBe(true);
  // Nobody appends to a log that is full, and what waited is not wanted any more.
  life.log.truncateAfter(life.heard.written);
  life.settle();
  for (let tries = 0; tries < 10; tries++) life.step(true);
  files.disk.bytesMax = Infinity;
  for (let tries = 0; tries < 50 && life.heard.full; tries++) life.step(true);
  expect(life.heard).toMatchObject({ full: false, failed: null });
});

test("a power cut of a machine whose disk is full leaves what was durable", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = new Random(seed);
    const files = new DiskFiles(new Disk(random));
    const life = live(files, random);
    files.disk.bytesMax = random.integer(1_500, 12_000);
    for (let n = 0; n < 30; n++) {
      some(life, random.integer(1, 4), 1, random.integer(0, 300));
      for (let steps = random.integer(0, 6); steps > 0; steps--) life.step(random.chance(0.2));
      if (random.chance(0.1)) files.disk.bytesMax += random.integer(0, 2_000);
    }
    const { durable } = life.heard;
    files.disk.powerCut();
    files.disk.bytesMax = Infinity;
    const again = live(files, random);
    expect(again.log.damage).toEqual([]);
    expect(again.log.lastIndex).toBeGreaterThanOrEqual(durable);
    readAll(again);
  }
});

test("an error of the disk ends the log: nothing more is reported, and what was durable is there afterwards", () => {
  for (const broken of ["write", "datasync", "create", "truncate"]) {
    const { files, random, life } = begin();
    some(life, 20);
    life.settle();
    const { durable } = life.heard;
    files.onOperation = (what) => {
      if (what === broken) throw new Error("EIO");
    };
    if (broken === "truncate") life.log.truncateAfter(10);
    some(life, 30);
    life.settle();
    expect(life.heard.failed?.message).toBe("EIO");
    expect(life.log.failed).toBe(true);
    // Of what was appended before, some may have been durable already.
    expect(life.heard.durable).toBeLessThanOrEqual(life.log.lastIndex);
    some(life, 1);
    life.settle();
    files.onOperation = undefined;
    const again = live(files, random);
    expect(again.log.damage).toEqual([]);
    expect(again.log.lastIndex).toBeGreaterThanOrEqual(broken === "truncate" ? 10 : durable);
  }
});

test("what no mark vouches for is written again at the start, before it counts as durable", () => {
  const { files, random, life } = begin({ segmentBytes: 1 << 20 });
  some(life, 5);
  while (life.heard.written < 5) life.step();
  // The process dies before the sync; the pages are in the cache only.
  const writes: string[] = [];
  files.onOperation = (what) => void writes.push(what);
  const again = live(files, random);
  expect(again.log.durable).toBe(5);
  expect(writes.filter((what) => what === "write" || what === "datasync")).toEqual(["write", "datasync"]);
  files.disk.powerCut();
  expect(live(files, random).log.lastIndex).toBe(5);
});

test("a closed log says in itself that all of it is durable: cutting its end off is noticed", () => {
  const { files, random, life } = begin({ segmentBytes: 1 << 20 });
  some(life, 10);
  let closed = false;
  life.log.close((error) => {
    expect(error).toBeNull();
    closed = true;
  });
  life.settle();
  expect(closed).toBe(true);
  expect(life.heard.durable).toBe(10);
  const [name] = files.disk.names();
  const file = files.disk.file(name!)!;
  file.flip(life.log.segments[0]!.end - 60, 1);
  expect(live(files, random).log.damage).toEqual([{ from: 10, to: 10 }]);
});
