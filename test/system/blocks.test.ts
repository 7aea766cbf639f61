/**
 * Bytes of files on real state processes, three replicas of one instance: what was acknowledged is there on each of
 * them after kills in the middle of writing, and after a disk has damaged it.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { rootIno } from "../../core/files/file-system.ts";
import { KiB } from "../../core/limits.ts";
import { blocksDir } from "../../core/state/schema.ts";
import { StateCluster } from "../tools/state-cluster.ts";

const pieceBytes = 200 * KiB;
let cluster: StateCluster;
beforeAll(async () => {
  cluster = await StateCluster.open({ replicas: 3, durability: "replicated" });
  await cluster.allInSync();
}, 60_000);
afterAll(() => cluster.close());

const piece = (seed: number) =>
  new Uint8Array(pieceBytes).map((_, i) => (i * 31 + (i >> 8) + seed * 7) & 255);
const segments = (at: number) => {
  const dir = blocksDir(cluster.nodes[at]!.boot.dataDir);
  return readdirSync(dir).map((name) => join(dir, name));
};

test("what was acknowledged is read on every node after kill -9 of the primary, and of all, in the middle of writing", async () => {
  const writer = cluster.files(cluster.backup);
  const { file } = await writer.create(rootIno, "data", 0o644, { write: true, exclusive: true });
  const count = 120;
  const progress = { written: 0 };
  const writing = (async () => {
    while (progress.written < count) {
      // One that failed may have been carried out: the same bytes go to the same place again.
      const at = await file.write(progress.written * pieceBytes, piece(progress.written)).catch(() => null);
      if (at !== null) progress.written++;
    }
  })();
  const until = (enough: number) => waitFor(() => progress.written >= enough);
  await until(30);
  const { primary } = cluster;
  await cluster.kill(primary);
  cluster.restart(primary);
  await until(60);
  await Promise.all(cluster.nodes.map((_, at) => cluster.kill(at)));
  for (const [at] of cluster.nodes.entries()) cluster.restart(at);
  await writing;
  await cluster.allInSync();
  for (const [at] of cluster.nodes.entries()) {
    const reader = cluster.files(at);
    const { ino } = await reader.lookup(rootIno, "data");
    const opened = await reader.open(ino, { read: true });
    for (let i = 0; i < count; i++) {
      const read = await opened.read(i * pieceBytes, pieceBytes);
      expect(Buffer.from(read).equals(piece(i))).toBe(true);
    }
    await opened.close();
  }
  await file.close();
}, 60_000);

test("bytes that the disk of one node has damaged are read there all the same, and are mended", async () => {
  const at = cluster.backup;
  const others = cluster.nodes.findIndex((_, i) => i !== at);
  await cluster.kill(at);
  const [path] = segments(at);
  const fd = openSync(path!, "r+");
  for (let i = 0; i < 20; i++) writeSync(fd, new Uint8Array(10), 0, 10, i * 1_000_000 + 5_000);
  closeSync(fd);
  cluster.restart(at);
  await cluster.allInSync();
  const reader = cluster.files(at);
  const { ino } = await reader.lookup(rootIno, "data");
  const opened = await reader.open(ino, { read: true });
  for (let i = 0; i < 120; i++) {
    const read = await opened.read(i * pieceBytes, pieceBytes);
    expect(Buffer.from(read).equals(piece(i))).toBe(true);
  }
  await opened.close();
  expect(readFileSync(path!).equals(readFileSync(segments(others)[0]!))).toBe(true);
}, 60_000);

async function waitFor(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(5);
}
