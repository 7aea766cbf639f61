/** Snapshots and blocks: what one names is on the disk, so that after a power cut nothing that was acknowledged is missing. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { segmentName } from "../../../core/blocks/segment-name.ts";
import { syncSegments } from "../../../core/blocks/sync-segments.ts";
import { blocksDir } from "../../../core/state/schema.ts";
import { listSnapshots } from "../../../core/state/snapshots.ts";
import { operate, pieceBytes, piecesOf, readAll, Replicas, until } from "./replicas.ts";

let replicas: Replicas;
beforeEach(() => {
  replicas = new Replicas(100_000);
});
afterEach(() => replicas.end());

const isPrimary = (member: { host: { machine: { role: string } } }) => () =>
  member.host.machine.role === "primary";

test("after a power cut that took all bytes that no snapshot had synced, the log brings them back to the same places", async () => {
  const member = await replicas.start("a");
  await until(isPrimary(member));
  for (let i = 0; i < 12; i++) await operate(member, { append: pieceBytes(30_000, i) });
  const info = await member.host.snapshotNow();
  expect(info.format === 2 && info.segments.map(([segment]) => segment)).toEqual([1, 2, 3, 4]);
  for (let i = 12; i < 30; i++) await operate(member, { append: pieceBytes(10_000, i) });
  await operate(member, { drop: 2 });
  const expected = await readAll(member);
  const before = piecesOf(member);
  const synced = new Map(info.format === 2 ? info.segments : []);
  const cut = await replicas.powerCut(member, (path) => {
    const kept = synced.get(Number(path.slice(-10)));
    if (kept === undefined) rmSync(path);
    else truncateSync(path, kept);
  });
  const configuration = replicas.store;
  await replicas.stop(member);
  replicas.store = configuration;
  const again = await replicas.start("a", cut);
  await until(isPrimary(again));
  expect(piecesOf(again)).toEqual(before);
  expect(await readAll(again)).toEqual(expected);
  // Also as of files: another end, another start.
  await replicas.stop(again);
  const third = await replicas.start("a", cut);
  await until(isPrimary(third));
  expect(await readAll(third)).toEqual(expected);
});

test("discarded segments go with the next snapshot, and not while somebody holds the one that has them", async () => {
  const member = await replicas.start("a");
  await until(isPrimary(member));
  for (let i = 0; i < 12; i++) await operate(member, { append: pieceBytes(30_000, i) });
  await member.host.snapshotNow();
  await operate(member, { drop: 3 });
  const files = () => readdirSync(blocksDir(member.dir)).length;
  expect(files()).toBe(4);
  await member.host.keeper.look();
  expect(files()).toBe(4);
  const release = member.host.keeper.hold();
  await member.host.snapshotNow();
  expect(files()).toBe(4);
  release();
  await member.host.keeper.look();
  expect(files()).toBe(2);
  expect(await readAll(member)).toHaveLength(6);
  expect(replicas.complaints).toEqual([]);
});

test("a snapshot whose bytes are not all there is none", async () => {
  const member = await replicas.start("a");
  await until(isPrimary(member));
  for (let i = 0; i < 4; i++) await operate(member, { append: pieceBytes(30_000, i) });
  const path = join(blocksDir(member.dir), segmentName(2));
  const size = 30_000;
  await until(() => existsSync(path) && statSync(path).size === size);
  truncateSync(path, size - 1);
  expect(await failureOf(member.host.snapshotNow())).toBe("FAILED");
  expect(await listSnapshots(member.dir)).toEqual([]);
  writeFileSync(path, new Uint8Array(size));
  const info = await member.host.snapshotNow();
  // What an older one has had synced is not looked at again.
  rmSync(path);
  await syncSegments(blocksDir(member.dir), [[2, size]], [[2, size]]);
  expect(await failureOf(syncSegments(blocksDir(member.dir), [[2, size]], []))).toBe("ENOENT");
  expect(info.format).toBe(2);
});

/** Its code. */
async function failureOf(promise: Promise<unknown>): Promise<string> {
  const outcome: unknown = await promise.catch((e: unknown) => e);
  return (outcome as { code?: string } | null)?.code ?? "none";
}
