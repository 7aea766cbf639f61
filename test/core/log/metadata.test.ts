/** The metadata of a replica: on the disk before anybody acts on it, one version or the other after a crash, never a mixture. */
import { expect, test } from "bun:test";
import { type Metadata, MetadataFile, readMetadata, writeMetadata } from "../../../core/log/metadata.ts";
import { run, type Steps } from "../../../core/log/steps.ts";
import { Disk } from "../../sim/harness/disk.ts";
import { Random } from "../../sim/harness/random.ts";
import { diskId } from "./bench-of-logs.ts";
import { DiskFiles } from "./disk-files.ts";

const first: Metadata = {
  ...{
    disk: diskId,
    epochSeen: 1,
    generationSeen: 1,
    mode: "fsync",
    bootId: "a",
    clean: null,
    amnesiac: false,
  },
};

function now<T>(steps: Steps<T>): T {
  let result: { error: Error | null; value?: T } | undefined;
  run(steps, (error, value) => (result = { error, value: value as T }));
  if (result?.error) throw result.error;
  return result!.value as T;
}

test("without a file there is none; what was written is read", () => {
  const files = new DiskFiles(new Disk(new Random(1)));
  expect(now(readMetadata(files))).toBeNull();
  now(writeMetadata(files, first));
  expect(now(readMetadata(files))).toEqual(first);
});

test("after a power cut it is the last that was reported as saved, or a later one", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = new Random(seed);
    const files = new DiskFiles(new Disk(random));
    now(writeMetadata(files, first));
    files.waiting = [];
    const file = new MetadataFile(files, first);
    let saved = 1;
    let last = 1;
    for (let n = random.integer(1, 20); n > 0; n--) {
      if (random.chance(0.4)) {
        const epochSeen = ++last;
        file.save({ epochSeen }, (error) => {
          expect(error).toBeNull();
          saved = Math.max(saved, epochSeen);
        });
        expect(file.current.epochSeen).toBe(epochSeen);
      } else files.step((count) => random.integer(0, count - 1));
    }
    files.waiting = null;
    files.disk.powerCut();
    const found = now(readMetadata(files))!;
    expect(found.epochSeen).toBeGreaterThanOrEqual(saved);
    expect(found.epochSeen).toBeLessThanOrEqual(last);
  }
});

test("of changes that wait only the newest is written, with all of them in it", () => {
  const files = new DiskFiles(new Disk(new Random(1)));
  files.waiting = [];
  let creations = 0;
  files.onOperation = (what) => void (what === "create" && creations++);
  const file = new MetadataFile(files, first);
  let done = 0;
  for (let epochSeen = 2; epochSeen < 10; epochSeen++) file.save({ epochSeen }, () => void done++);
  file.save({ amnesiac: true }, () => void done++);
  while (files.step(() => 0));
  expect([done, creations]).toEqual([9, 2]);
  files.waiting = null;
  expect(now(readMetadata(files))).toEqual({ ...first, epochSeen: 9, amnesiac: true });
});

test("a flipped bit anywhere in it is noticed", () => {
  const files = new DiskFiles(new Disk(new Random(1)));
  now(writeMetadata(files, first));
  const size = files.disk.size("metadata");
  for (let at = 0; at < size; at++) {
    files.disk.file("metadata")!.flip(at, 1);
    expect(() => now(readMetadata(files))).toThrow("damaged");
    files.disk.file("metadata")!.flip(at, 1);
  }
  expect(now(readMetadata(files))).toEqual(first);
});

test("where a full disk is waited out, everything given meanwhile is saved when there is room", () => {
  const files = new DiskFiles(new Disk(new Random(1)));
  now(writeMetadata(files, first));
  files.disk.bytesMax = 10;
  const later: (() => void)[] = [];
  const file = new MetadataFile(files, first, (again) => void later.push(again));
  const saved: (Error | null)[] = [];
  file.save({ epochSeen: 2 }, (error) => void saved.push(error));
  file.save({ generationSeen: 3 }, (error) => void saved.push(error));
  for (let tries = 0; tries < 3; tries++) later.splice(0).forEach((run) => run());
  expect(saved).toEqual([]);
  expect(file.current).toMatchObject({ epochSeen: 2, generationSeen: 3 });
  expect(now(readMetadata(files))).toEqual(first);
  files.disk.bytesMax = Infinity;
  later.splice(0).forEach((run) => run());
  expect(saved).toEqual([null, null]);
  expect(now(readMetadata(files))).toEqual({ ...first, epochSeen: 2, generationSeen: 3 });
});

test("a disk that is full is an error to whoever saves, and the old one stands", () => {
  const files = new DiskFiles(new Disk(new Random(1)));
  now(writeMetadata(files, first));
  files.disk.bytesMax = 10;
  const file = new MetadataFile(files, first);
  let outcome: Error | null | undefined;
  file.save({ epochSeen: 2 }, (error) => (outcome = error));
  expect(outcome).toBeInstanceOf(Error);
  expect(now(readMetadata(files))).toEqual(first);
});
