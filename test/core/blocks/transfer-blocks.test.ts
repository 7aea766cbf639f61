/** A learner gets the bytes that it lacks, and only those, through broken links and its own death; what a disk damages comes back. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { closeSync, openSync, readdirSync, readFileSync, rmSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { segmentName } from "../../../core/blocks/segment-name.ts";
import { blocksDir } from "../../../core/state/schema.ts";
import { listSnapshots } from "../../../core/state/snapshots.ts";
import {
  type Member,
  operate,
  pieceBytes,
  piecesOf,
  readAll,
  readPiece,
  Replicas,
  until,
} from "./replicas.ts";

const segmentBytes = 1_000_000;
let replicas: Replicas;
/** Bytes of segments that came over links. */
let fetched: number;
beforeEach(() => {
  replicas = new Replicas(segmentBytes, 2);
  fetched = 0;
  replicas.passes = (_from, _to, message) => {
    if (message[0] === 57) fetched += (message[2] as Uint8Array | null)?.length ?? 0;
    return true;
  };
});
afterEach(() => replicas.end());

const path = ({ dir }: Member, segment: number) => join(blocksDir(dir), segmentName(segment));
const isPrimary = (member: Member) => until(() => member.host.machine.role === "primary");
const inSync = (count: number) => until(() => replicas.store.configuration!.inSync.length === count);
const caughtUp = (member: Member, primary: Member) =>
  until(() => member.host.machine.status.appliedIndex >= primary.host.machine.status.appliedIndex);

/** Pieces of 100 kB, whose records the log does not have any more. */
async function append(member: Member, count: number, seed: number): Promise<void> {
  for (let i = 0; i < count; i++) await operate(member, { append: pieceBytes(100_000, seed + i) });
}

function damage(file: string, at: number): void {
  const bytes = readFileSync(file);
  const fd = openSync(file, "r+");
  writeSync(fd, new Uint8Array([bytes[at]! ^ 1]), 0, 1, at);
  closeSync(fd);
}

test("a new replica gets all segments; one that was away only what was written since", async () => {
  const a = await replicas.start("a");
  await isPrimary(a);
  await append(a, 25, 0);
  await a.host.snapshotNow();
  let b = await replicas.start("b");
  await inSync(2);
  await caughtUp(b, a);
  expect(await readAll(b)).toEqual(await readAll(a));
  expect(fetched).toBeGreaterThanOrEqual(2_500_000);
  expect((await listSnapshots(b.dir))[0]).toMatchObject({ format: 2 });
  await replicas.stop(b);

  await inSync(1);
  fetched = 0;
  await append(a, 5, 100);
  await a.host.snapshotNow();
  await append(a, 1, 200);
  b = await replicas.start("b");
  await inSync(2);
  await caughtUp(b, a);
  expect(await readAll(b)).toEqual(await readAll(a));
  expect(fetched).toBeLessThan(1_300_000);
  expect(replicas.complaints.filter((each) => !each.includes("not taken"))).toEqual([]);
}, 30_000);

test("a transfer that is cut off goes on where it ended, also after the learner was killed", async () => {
  const a = await replicas.start("a");
  await isPrimary(a);
  await append(a, 40, 0);
  await a.host.snapshotNow();
  let isCut = false;
  replicas.passes = (_from, _to, message) => {
    if (message[0] !== 57) return true;
    if (fetched > 2_000_000) isCut = true;
    else fetched += (message[2] as Uint8Array).length;
    return !isCut;
  };
  const b = await replicas.start("b");
  await until(() => isCut);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const copy = replicas.killed(b);
  await replicas.stop(b);
  expect(readdirSync(blocksDir(copy)).length).toBeGreaterThan(1);
  // Some of what had come is not as it was sent.
  damage(join(blocksDir(copy), segmentName(1)), 300_000);
  replicas.passes = (_from, _to, message) => {
    if (message[0] === 57) fetched += (message[2] as Uint8Array).length;
    return true;
  };
  fetched = 0;
  const again = await replicas.start("b", copy);
  // The link breaks once more, in the middle.
  await until(() => fetched > 600_000);
  replicas.breakLink(a, again);
  await inSync(2);
  await caughtUp(again, a);
  expect(await readAll(again)).toEqual(await readAll(a));
  expect(fetched).toBeLessThan(4_000_000);
}, 30_000);

test("bytes that a disk has damaged, cut off or lost are read all the same, and are mended", async () => {
  const a = await replicas.start("a");
  await isPrimary(a);
  const b = await replicas.start("b");
  await inSync(2);
  await append(a, 25, 0);
  await caughtUp(b, a);
  await b.host.snapshotNow();
  damage(path(b, 1), 50_000);
  truncateSync(path(b, 3), 10);
  expect(await readPiece(b, piecesOf(b)[0]!)).toEqual(pieceBytes(100_000, 0));
  expect(replicas.complaints.filter((each) => each.includes("repaired"))).toHaveLength(1);
  expect(readFileSync(path(b, 1))).toEqual(readFileSync(path(a, 1)));
  expect(await b.host.blocks.scrub()).toEqual({ damaged: 7, repaired: 7 });
  expect(readFileSync(path(b, 3))).toEqual(readFileSync(path(a, 3)));
  expect(await b.host.blocks.scrub()).toEqual({ damaged: 0, repaired: 0 });
  // The whole file, at a moment when it is not open.
  await replicas.stop(b);
  rmSync(path(b, 2));
  const again = await replicas.start("b");
  await caughtUp(again, a);
  expect(await readAll(again)).toEqual(await readAll(a));
  expect(readFileSync(path(again, 2))).toEqual(readFileSync(path(a, 2)));
}, 30_000);

test("what no other replica has as it should be is an error, and what they give is checked", async () => {
  const a = await replicas.start("a");
  await isPrimary(a);
  const b = await replicas.start("b");
  await inSync(2);
  await append(a, 3, 0);
  await caughtUp(b, a);
  await a.host.snapshotNow();
  await b.host.snapshotNow();
  damage(path(a, 1), 10);
  damage(path(b, 1), 20);
  const outcome: unknown = await readPiece(b, piecesOf(b)[0]!).catch((e: unknown) => e);
  expect(outcome).toMatchObject({ code: "FAILED" });
  expect(await b.host.blocks.scrub()).toEqual({ damaged: 1, repaired: 0 });
  replicas.passes = (_from, _to, message) => message[0] !== 57;
  damage(path(b, 1), 150_000);
  void readPiece(b, piecesOf(b)[1]!).catch(() => undefined);
  replicas.breakLink(a, b);
  replicas.passes = () => true;
  expect(await readPiece(b, piecesOf(b)[1]!)).toEqual(pieceBytes(100_000, 1));
}, 30_000);
