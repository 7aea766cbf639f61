/** The keeper of a replica's disk: when it makes snapshots and checkpoints, what it removes, and what it says of the room. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { Segment } from "../../../core/log/segment.ts";
import { FreeSpace } from "../../../core/state/free-space.ts";
import { Keeper } from "../../../core/state/keeper.ts";
import { isWhole, listSnapshots, type SnapshotInfo, snapshotPath } from "../../../core/state/snapshots.ts";
import { ReplicaDatabase } from "./replica-database.ts";

// Helpers are host processes: slow to start on a machine that has much to do.
setDefaultTimeout(60_000);

let replica: ReplicaDatabase;
let keeper: Keeper;
let taken: SnapshotInfo[];
let said: string[];
let segments: Segment[];

beforeEach(() => {
  replica = new ReplicaDatabase();
  taken = [];
  said = [];
  segments = [{ name: "", firstIndex: 1, nextIndex: 1, end: 0, waypoints: [] }];
  keeper = new Keeper(
    {
      dataDir: replica.dir,
      log: { segments } as never,
      database: () => replica.db,
      snapshotTaken: (info) => void taken.push(info),
      spaceChanged: () => undefined,
      say: (_, message) => void said.push(message),
      walBytesMax: 1_000_000,
      snapshotLogBytes: 7_500_000,
    },
    null,
  );
});
afterEach(async () => {
  await keeper.close();
  replica.end();
});

function write(count: number): void {
  for (let i = 0; i < count; i++) replica.kv({ op: "put", key: `key${i}`, value: new Uint8Array(4_000) });
  replica.db.commit();
  segments[0]!.nextIndex = replica.db.appliedIndex + 1;
  segments[0]!.end += count * 60_000;
}
const walBytes = () => statSync(`${replica.path}-wal`).size;

test("a snapshot is made when the log has grown, once, and the one before is given back", async () => {
  write(50);
  await keeper.look();
  expect(taken).toEqual([]);
  write(100);
  await keeper.look();
  await keeper.look();
  expect(taken.map(({ index }) => index)).toEqual([replica.db.appliedIndex]);
  expect(await listSnapshots(replica.dir)).toEqual(taken);
  // The log has been cut off, and grows again.
  segments[0] = { ...segments[0]!, firstIndex: segments[0]!.nextIndex, end: 0 };
  write(150);
  await keeper.look();
  expect(taken).toHaveLength(2);
  expect(await listSnapshots(replica.dir)).toEqual([taken[1]!]);
});

test("a snapshot of a large database waits until the log has grown by twice as much", async () => {
  write(1_000);
  await keeper.look();
  replica.db.checkpoint();
  const due = 2 * statSync(replica.path).size;
  expect(due).toBeGreaterThan(5_000_000);
  segments[0] = { ...segments[0]!, end: due - 1, nextIndex: replica.db.appliedIndex + 2 };
  const before = taken.length;
  await keeper.look();
  expect(taken).toHaveLength(before);
  segments[0].end = due + 1;
  await keeper.look();
  expect(taken).toHaveLength(before + 1);
}, 30_000);

test("snapshots that several ask for at once are made one after the other", async () => {
  write(1_000);
  const asked = await Promise.all(Array.from({ length: 3 }, () => keeper.makeSnapshot()));
  expect(taken).toEqual(asked);
  expect(new Set(asked.map(({ index }) => index))).toEqual(new Set([replica.db.appliedIndex]));
  expect(await isWhole(replica.dir, asked[0]!)).toBe(true);
  expect(await listSnapshots(replica.dir)).toEqual([asked[0]!]);
}, 30_000);

test("a snapshot that the disk has damaged is found, and another takes its place", async () => {
  write(1);
  const info = await keeper.makeSnapshot();
  await keeper.checkSnapshot(Infinity);
  expect(taken).toHaveLength(1);
  const path = snapshotPath(replica.dir, info.index);
  const bytes = readFileSync(path);
  bytes[2_000]! ^= 1;
  writeFileSync(path, bytes);
  await keeper.checkSnapshot(Infinity);
  expect(said.join()).toContain("damaged");
  // Of the same record, as nothing was written since.
  expect(taken[1]!.index).toBe(info.index);
  expect(await isWhole(replica.dir, taken[1]!)).toBe(true);
});

test("while a snapshot is held the log may grow by much more before the next one", async () => {
  write(150);
  await keeper.look();
  expect(taken).toHaveLength(1);
  const release = keeper.hold();
  const grow = (bytes: number) => {
    write(1);
    segments[0] = { ...segments[0]!, end: bytes };
    return keeper.look();
  };
  await grow(4 * 2 ** 30);
  expect(taken).toHaveLength(1);
  await grow(4 * 2 ** 30 + 1);
  expect(taken).toHaveLength(2);
  release();
  await grow(2 ** 30);
  expect(taken).toHaveLength(3);
}, 30_000);

test("a snapshot that is held stays beside the next one", async () => {
  write(1);
  const first = await keeper.makeSnapshot();
  const release = keeper.hold();
  write(1);
  const second = await keeper.makeSnapshot();
  expect(await listSnapshots(replica.dir)).toEqual([second, first]);
  release();
  release();
  write(1);
  const third = await keeper.makeSnapshot();
  expect(await listSnapshots(replica.dir)).toEqual([third]);
});

test("the database's write-ahead log does not grow without end", async () => {
  for (let round = 0; round < 6; round++) {
    write(300);
    segments[0]!.end = 0;
    await keeper.look();
    // With the next write it has begun anew, in a file no longer than what is always kept.
    write(1);
    segments[0]!.end = 0;
    expect(walBytes()).toBeLessThan(4_500_000);
  }
  expect(said).toEqual([]);
});

test("a helper that fails is said, left alone for a while, and nothing ends by it", async () => {
  write(150);
  rmSync(replica.path);
  await keeper.look();
  expect(said).toEqual(["housekeeping"]);
  await keeper.look();
  expect(said).toEqual(["housekeeping"]);
  expect(taken).toEqual([]);
});

test("room on the disk is scarce below the reserve, and again enough well above it", async () => {
  const none = new FreeSpace(replica.dir, { bytes: 0, share: 1 });
  expect(await none.look()).toBe(false);
  const all = new FreeSpace(replica.dir, { bytes: Infinity, share: 1 });
  expect(await all.look()).toBe(true);
  expect(all.low).toBe(true);
});
