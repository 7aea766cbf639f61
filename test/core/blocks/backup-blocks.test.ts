/** A backup of a state with blocks has all bytes that it names, as of one record. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { segmentName } from "../../../core/blocks/segment-name.ts";
import { encodeBackup, readBackup, streamsOf } from "../../../core/state/backup/format.ts";
import { type BackupSource, giveBackup } from "../../../core/state/backup/give-backup.ts";
import { segmentsIn } from "../../../core/state/database-blocks.ts";
import { blocksDir } from "../../../core/state/schema.ts";
import { piecesModule } from "./test-module.ts";
import { type Member, operate, pieceBytes, Replicas, until } from "./replicas.ts";

let replicas: Replicas;
beforeEach(() => {
  replicas = new Replicas(1_000_000);
});
afterEach(() => replicas.end());

function give({ host, dir }: Member): ReturnType<typeof giveBackup> {
  const source: BackupSource = {
    ...{ isPrimary: () => true, snapshotNow: () => host.snapshotNow(), keeper: host.keeper },
    modules: [piecesModule(1_000_000)],
    neededBlobs: () => Promise.resolve({ blobs: [] }),
    repair: (...range) => host.blocks.repair(...range),
    readBlob: () => Promise.reject(new Error("no images")),
  };
  return giveBackup(source, { tenant: "t", instance: "i", uid: "u", os: "o", dataDir: dir });
}

test("all segments are in it, also when they are discarded while it is read; without some of them there is none", async () => {
  const member = await replicas.start("a");
  await until(() => member.host.machine.role === "primary");
  for (let i = 0; i < 15; i++) await operate(member, { append: pieceBytes(200_000, i) });
  const { header, chunks, release } = await give(member);
  await operate(member, { drop: 3 });
  await member.host.snapshotNow();
  const streams = new Map<string, Uint8Array[]>();
  const read = await readBackup(encodeBackup(header, chunks));
  for await (const [name, part] of streamsOf(read.header, read.chunks))
    streams.set(name, [...(streams.get(name) ?? []), part.slice()]);
  release?.();
  expect([...streams.keys()]).toEqual(["state", "blocks"]);
  const path = join(replicas.root, "backup.db");
  writeFileSync(path, Buffer.concat(streams.get("state")!));
  const blocks = Buffer.concat(streams.get("blocks")!);
  const db = new DatabaseSync(path);
  const begins = new Map<number, number>();
  let at = 0;
  for (const [segment, length] of segmentsIn(db)) {
    begins.set(segment, at);
    at += length;
  }
  expect(blocks.length).toBe(at);
  const rows = db.prepare("SELECT segment, position, length FROM pieces_piece ORDER BY id").all() as {
    segment: number;
    position: number;
    length: number;
  }[];
  db.close();
  expect(rows).toHaveLength(15);
  for (const [i, { segment, position, length }] of rows.entries()) {
    const from = begins.get(segment)! + position;
    expect(blocks.subarray(from, from + length).equals(pieceBytes(200_000, i))).toBe(true);
  }

  const short = await give(member);
  truncateSync(join(blocksDir(member.dir), segmentName(3)), 1_000);
  const outcome: unknown = await Array.fromAsync(short.chunks).catch((e: unknown) => e);
  expect(outcome).toMatchObject({ code: "FAILED" });
}, 20_000);

test("what this disk has damaged comes into the backup from another replica", async () => {
  const two = new Replicas(1_000_000, 2);
  try {
    const [a, b] = [await two.start("a"), await two.start("b")];
    await until(
      () => a.host.machine.role === "primary" && (two.store.configuration?.inSync.length ?? 0) === 2,
    );
    for (let i = 0; i < 8; i++) await operate(a, { append: pieceBytes(200_000, i) });
    const { chunks } = await give(a);
    const damaged = openSync(join(blocksDir(a.dir), segmentName(1)), "r+");
    writeSync(damaged, new Uint8Array(1_000), 0, 1_000, 250_000);
    closeSync(damaged);
    const all = Buffer.concat(await Array.fromAsync(chunks, (part) => part.slice()));
    for (let i = 0; i < 8; i++) expect(all.includes(pieceBytes(200_000, i))).toBe(true);
    expect(two.complaints.join()).toContain("repaired");
    await two.stop(b);
  } finally {
    await two.end();
  }
}, 20_000);
