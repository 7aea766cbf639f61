import { afterEach, expect, test } from "bun:test";
import type { AttributesRow } from "../../../../core/files/attributes.ts";
import { kindMask, kinds } from "../../../../core/files/attributes.ts";
import type { FileOperation, FileResult } from "../../../../core/files/operations.ts";
import { orphanKeptMs } from "../../../../core/limits.ts";
import { Random } from "../../../sim/harness/random.ts";
import { type Expected, PosixModel } from "./posix-model.ts";
import { randomOperation } from "./random-operations.ts";
import { type TestRecord, TestVolume } from "./test-volume.ts";

let volumes: TestVolume[] = [];
afterEach(() => {
  for (const volume of volumes) volume.close();
  volumes = [];
});

function newVolume(): TestVolume {
  const volume = new TestVolume();
  volumes.push(volume);
  return volume;
}

const clients = ["one", "two"];

for (let seed = 1; seed <= 4; seed++) {
  test(`thousands of random operations end as in a simple model (seed ${seed})`, async () => {
    const random = new Random(seed);
    const volume = newVolume();
    const model = new PosixModel();
    for (let i = 0; i < 1_500; i++) {
      volume.timeMs += random.integer(0, 20);
      const operation = randomOperation(random, model);
      const client = random.pick(clients);
      const before = i % 10 === 0 ? volume.digest() : null;
      const result = volume.operate(operation, client);
      const made = makes(operation) && result[0] === "" ? (result[1] as AttributesRow)[0] : 0;
      check(operation, result, model.apply(operation, client, made));
      if (before !== null && result[0] !== "") expect(volume.digest()).toBe(before);
      if (i % 100 === 99) await checkTree(volume, model);
      if (i % 300 === 299) {
        const gone = random.pick(clients);
        volume.apply({ index: volume.index + 1, timeMs: volume.timeMs, client: gone, operation: null });
        model.clientRemoved(gone);
        volume.timeMs += orphanKeptMs;
        volume.tidy();
        model.reap();
        await checkTree(volume, model);
      }
      // What the module forgot by itself after orphanKeptMs the model forgets, too.
      for (const ino of model.inodes.keys()) {
        if (model.inodes.get(ino)!.nlink === 0 && volume.errorOf(["attributes", ino]) === "ESTALE") {
          expect(model.inodes.get(ino)!.openBy.size).toBe(0);
          model.inodes.delete(ino);
        }
      }
    }
  }, 60_000);
}

/** Its result has the inode that it has made. */
function makes(operation: FileOperation | null): boolean {
  return operation?.[0] === 1 || operation?.[0] === 20;
}

function check(operation: unknown, result: FileResult, expected: Expected): void {
  if (typeof expected === "string" || result[0] !== "") {
    expect([operation, result[0]]).toEqual([operation, typeof expected === "string" ? expected : ""]);
    return;
  }
  const { ino, made, offset, size } = expected;
  if (ino !== undefined) expect((result[1] as AttributesRow)[0]).toBe(ino);
  if (made !== undefined) expect(result[2]).toBe(made);
  if (offset !== undefined) expect(result.slice(1, 3)).toEqual([offset, size]);
}

/** All inodes, names and bytes, and what is counted. */
async function checkTree(volume: TestVolume, model: PosixModel): Promise<void> {
  let [bytes, inodes] = [0, 0];
  for (const inode of model.inodes.values()) {
    const row = volume.ask(["attributes", inode.ino]) as AttributesRow;
    const [, mode, nlink, uid, gid, size, allocated] = row;
    expect([inode.ino, mode, nlink, uid, gid]).toEqual([
      inode.ino,
      inode.mode,
      inode.nlink,
      inode.uid,
      inode.gid,
    ]);
    if (inode.nlink > 0 || inode.openBy.size > 0) {
      bytes += allocated;
      inodes++;
    }
    const kind = inode.mode & kindMask;
    if (kind === kinds.directory) {
      const listed = volume.ask(["entries", inode.ino, 0, 1_000, 0]) as [string, number][];
      expect(new Map(listed.map(([name, ino]) => [name, ino]))).toEqual(inode.entries);
      if (inode.nlink > 0) {
        expect((volume.ask(["lookup", null, inode.ino, ".."]) as AttributesRow)[0]).toBe(inode.parent);
      }
    } else if (kind === kinds.symlink) expect(volume.ask(["link", inode.ino])).toBe(inode.target);
    else if (kind === kinds.file) {
      expect(size).toBe(inode.bytes.length);
      const [error, read] = (await volume.module.read(["read", inode.ino, 0, 1_000_000])) as FileResult;
      expect(error).toBe("");
      expect(Buffer.compare(read as Uint8Array, inode.bytes)).toBe(0);
    }
  }
  const [, used, , counted] = volume.module.read(["usage"]) as FileResult;
  expect([used, counted]).toEqual([bytes, inodes]);
  checkAccounts(volume);
}

/** What is written down as allocated and live is what the extents have. */
function checkAccounts({ db }: TestVolume): void {
  const wrong = db
    .prepare(
      `SELECT ino, allocated, ifnull((SELECT sum(length) FROM files_extent e WHERE e.content = i.content), 0) AS real
       FROM files_inode i WHERE (mode & 61440) = 32768 AND allocated <> real`,
    )
    .all();
  expect(wrong).toEqual([]);
  const live = db
    .prepare(
      `SELECT segment, live, ifnull((SELECT sum(length) FROM files_extent e WHERE e.segment = s.segment), 0) AS real
       FROM (SELECT segment, live FROM files_segment UNION ALL SELECT segment, live FROM files_counter) s
       WHERE live <> real`,
    )
    .all();
  expect(live).toEqual([]);
}

test("the same records end in the same state, however transactions are cut and undone", () => {
  const random = new Random(42);
  const model = new PosixModel();
  const first = newVolume();
  const second = newVolume();
  let batch: TestRecord[] = [];
  second.db.exec("BEGIN");
  for (let i = 0; i < 3_000; i++) {
    const client = random.pick(clients);
    const operation = random.chance(0.005) ? null : randomOperation(random, model);
    const timeMs = first.timeMs + random.integer(0, 200);
    const record: TestRecord = { index: first.index + 1, timeMs, client, operation };
    const result = first.apply(record);
    const made = makes(operation) && result[0] === "" ? (result[1] as AttributesRow)[0] : 0;
    if (operation) model.apply(operation, client, made);
    else model.clientRemoved(client);
    for (const ino of model.inodes.keys()) {
      if (first.errorOf(["attributes", ino]) === "ESTALE") model.inodes.delete(ino);
    }
    expect(second.apply(record)).toEqual(result);
    batch.push(record);
    if (!random.chance(0.1)) continue;
    if (random.chance(0.3)) {
      // As a full disk does: all of the transaction is undone, and done again.
      second.db.exec("ROLLBACK");
      second.db.exec("BEGIN");
      for (const again of batch) second.apply(again);
    }
    second.db.exec("COMMIT");
    second.db.exec("BEGIN");
    batch = [];
  }
  second.db.exec("COMMIT");
  expect(second.digest()).toBe(first.digest());
}, 60_000);
