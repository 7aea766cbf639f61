/** Snapshots of a replica: made by the helper beside a database in use, whole or not there, and a database again. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeSnapshot } from "../../../core/state/helper.ts";
import { SnapshotReceiver } from "../../../core/state/receive-snapshot.ts";
import { askHelper } from "../../../core/state/run-helper.ts";
import {
  listSnapshots,
  readSnapshot,
  removeOtherSnapshots,
  restoreDatabase,
  type SnapshotInfo,
  snapshotPath,
  snapshotsDir,
} from "../../../core/state/snapshots.ts";
import { ReplicaDatabase } from "./replica-database.ts";

let replica: ReplicaDatabase;
beforeEach(() => {
  replica = new ReplicaDatabase();
});
afterEach(() => replica.end());

const signal = new AbortController().signal;
function fill(count: number): void {
  for (let i = 0; i < count; i++) replica.kv({ op: "put", key: `key${i}`, value: new Uint8Array(500) });
}
async function restored(
  info: SnapshotInfo,
  from = replica.dir,
): Promise<ReturnType<ReplicaDatabase["open"]>> {
  const path = join(replica.dir, "restored.db");
  await restoreDatabase(from, info, path);
  return replica.open(path);
}

test("the helper makes a snapshot of what was committed, while the database goes on", async () => {
  fill(300);
  replica.db.commit();
  const index = replica.db.appliedIndex;
  const digest = replica.db.digest();
  const making = askHelper("snapshot", replica.dir, signal);
  fill(50);
  const info = await making;
  expect(info.index).toBeGreaterThanOrEqual(index);
  expect(await listSnapshots(replica.dir)).toEqual([info]);
  const copy = await restored(info);
  expect(copy.appliedIndex).toBe(info.index);
  // What was committed before it began is in it; of what came meanwhile, whole transactions.
  if (info.index === index) expect(copy.digest()).toBe(digest);
  for (const record of replica.log.slice(info.index)) {
    copy.execute(record);
    copy.applied(record);
  }
  copy.commit();
  replica.db.commit();
  expect(copy.digest()).toBe(replica.db.digest());
  copy.close();
});

test("the helper's checkpoint leaves little for the database's own", async () => {
  fill(300);
  replica.db.commit();
  const { frames, moved } = await askHelper("checkpoint", replica.dir, signal);
  expect(frames).toBeGreaterThan(10);
  expect(moved).toBe(frames);
  expect(replica.db.checkpoint()).toBe(0);
});

test("a helper that cannot do its job says why", async () => {
  const nowhere = askHelper("checkpoint", join(replica.dir, "none"), signal).catch((e: unknown) => e);
  expect(await nowhere).toMatchObject({ code: "FAILED" });
});

test("a snapshot without its checksum, or of another size, does not count; a flipped bit is found when it is read", async () => {
  fill(20);
  replica.db.commit();
  const first = await makeSnapshot(replica.dir);
  expect(await makeSnapshot(replica.dir)).toEqual(first);
  fill(20);
  replica.db.commit();
  const second = await makeSnapshot(replica.dir);
  expect(await listSnapshots(replica.dir)).toEqual([second, first]);
  const path = snapshotPath(replica.dir, second.index);
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 4;
  writeFileSync(path, bytes);
  const outcome = restored(second).catch((e: unknown) => e);
  expect(await outcome).toMatchObject({ code: "FAILED", message: expect.stringContaining("checksum") });
  expect(readdirSync(replica.dir).filter((name) => name.startsWith("restored"))).toEqual([]);
  truncateSync(path, second.bytes - 1);
  expect(await listSnapshots(replica.dir)).toEqual([first]);
  await removeOtherSnapshots(replica.dir, first);
  expect(readdirSync(snapshotsDir(replica.dir))).toHaveLength(2);
  (await restored(first)).close();
});

test("a snapshot from another replica counts when all of it has come as it was announced, not before", async () => {
  fill(100);
  replica.db.commit();
  const info = await makeSnapshot(replica.dir);
  const other = join(replica.dir, "other");
  const pieces: Uint8Array[] = [];
  for await (const piece of readSnapshot(replica.dir, info)) pieces.push(piece);

  const cut = await SnapshotReceiver.begin(other, info);
  await cut.write(pieces[0]!.subarray(1));
  expect(await listSnapshots(other)).toEqual([]);
  expect(await cut.finish().catch((e: unknown) => e)).toMatchObject({ code: "INVALID" });
  const long = await SnapshotReceiver.begin(other, info);
  for (const piece of pieces) await long.write(piece);
  expect(await long.write(new Uint8Array(1)).catch((e: unknown) => e)).toMatchObject({ code: "INVALID" });
  await long.abort();
  expect(await listSnapshots(other)).toEqual([]);

  const whole = await SnapshotReceiver.begin(other, info);
  for (const piece of pieces) await whole.write(piece);
  expect(await whole.finish()).toEqual(info);
  expect(await listSnapshots(other)).toEqual([info]);
  const copy = await restored(info, other);
  expect(copy.digest()).toBe(replica.db.digest());
  copy.close();
});
