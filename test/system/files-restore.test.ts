/**
 * Backup and restore of files on real state processes: what two clients on two nodes have written is there again, byte
 * by byte and in all that is said of it, in another instance and in the same one; as of one moment, whatever was being
 * written; and a restore that is cut down in the middle leaves the old files or the new ones.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type FileSystem, rootIno } from "../../core/files/file-system.ts";
import type { VolumeClient } from "../../core/files/client/volume-client.ts";
import { openPath, resolvePath } from "../../core/files/paths.ts";
import { stateSockets } from "../../core/state/boot.ts";
import { checkedBackup } from "../../core/state/backup/format.ts";
import { openBackup, sendRestore } from "../../core/state/backup/transfer.ts";
import { StateCluster } from "../tools/state-cluster.ts";
import { treeOf } from "../tools/volume-tree.ts";

const dir = mkdtempSync(join(tmpdir(), "dvs-"));
const never = new AbortController().signal;
const text = (words: string) => new TextEncoder().encode(words);
const MiB = 1024 * 1024;
/** Patient, since all of it is on one machine, which has other things to do. */
const options = { replicas: 2, supervised: true, durability: "replicated", aliveMs: 4_000 } as const;
let source: StateCluster;
let place: StateCluster;

beforeAll(async () => {
  [source, place] = await Promise.all([StateCluster.open(options), StateCluster.open(options)]);
}, 60_000);
afterAll(async () => {
  await Promise.all([source?.close(), place?.close()]);
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

const socketOf = (cluster: StateCluster) => join(cluster.runDir(cluster.primary), stateSockets.transfer);
async function backup(cluster: StateCluster, name: string): Promise<string> {
  const path = join(dir, name);
  const stream = await openBackup(socketOf(cluster), never);
  await pipeline(Readable.from(checkedBackup(stream)), createWriteStream(path));
  return path;
}
const restore = (cluster: StateCluster, path: string) =>
  sendRestore(socketOf(cluster), createReadStream(path), never);
async function put(fs: FileSystem, path: string, bytes: Uint8Array | string, offset = 0): Promise<void> {
  const { file } = await openPath(fs, path, { create: 0o644, write: true, read: true });
  await file.write(offset, typeof bytes === "string" ? text(bytes) : bytes);
  await file.close();
}
async function contentOf(fs: FileSystem, path: string): Promise<string> {
  const { file, attributes } = await openPath(fs, path, { read: true });
  const bytes = await file.read(0, attributes.size);
  await file.close();
  return new TextDecoder().decode(bytes);
}
const pattern = (length: number, seed: number) =>
  new Uint8Array(length).map((_, i) => (i * 31 + (i >> 9) * 7 + seed) & 255);

/** One of each kind, and what makes it hard. */
async function build(one: VolumeClient, two: VolumeClient): Promise<void> {
  const { ino: deep } = await one.makeDirectory(rootIno, "deep", 0o755);
  const { ino: deeper } = await two.makeDirectory(deep, "deeper", 0o2750);
  await put(one, "/deep/a", "a");
  const { ino } = await resolvePath(one, "/deep/a", {});
  await two.makeLink(ino, deeper, "same as a");
  await one.makeLink(ino, rootIno, "a again");
  await two.makeSymlink(deep, "link", "../deep/a");
  await one.makeNode(deep, "fifo", 0o010600);
  await put(two, "/sparse", "end", 10 * MiB);
  await put(two, "/sparse", pattern(5_000, 1), 3 * MiB + 17);
  await put(one, "/empty", "");
  // Over several segments.
  for (let at = 0; at < 66; at++) await put(one, "/large", pattern(MiB, at), at * MiB);
  await put(two, "/large", pattern(100_000, 99), 40 * MiB - 5_001);
  for (let i = 0; i < 300; i++) await put(i % 2 ? one : two, `/deep/deeper/${i}`, pattern(i * 41, i));
  for (let i = 0; i < 300; i += 3) await two.unlink(deeper, String(i));
  await put(one, "/cut", pattern(3 * MiB, 5));
  const { file } = await openPath(two, "/cut", { write: true });
  await file.truncate(123_456);
  await file.close();
  await one.setAttributes(ino, { mode: 0o640, uid: 1_001, gid: 1_002 });
  await two.setAttributes(deep, { mtime: { seconds: 1_000_000, nanos: 5 } });
}

test("all that two nodes have written is in another instance, as it was; and again where it was", async () => {
  const [one, two] = [source.files(0), source.files(1)];
  await build(one, two);
  // Open and without a name: it goes with whoever has it open.
  await put(one, "/unlinked", "nobody's");
  const { file: unlinked } = await openPath(one, "/unlinked", { read: true });
  await sleep(1_500);
  await one.unlink(rootIno, "unlinked");
  const before = await treeOf(two);
  const usage = await two.usage();
  const path = await backup(source, "all");

  const there = place.files(1);
  await put(there, "/was here", "and is gone");
  const { file: held } = await openPath(there, "/was here", { read: true });
  await restore(place, path);
  expect(await treeOf(there)).toEqual(before);
  expect(await treeOf(place.files(0))).toEqual(before);
  // What is open there is not another file now.
  expect(await held.read(0, 10).then(String, (e: { code: string }) => e.code)).toBe("ESTALE");
  const used = await there.usage();
  const orphan = 1;
  expect(used).toMatchObject({ bytes: usage.bytes - "nobody's".length, inodes: usage.inodes - orphan });

  // It is a volume like any other.
  await put(there, "/large", "changed", 65 * MiB);
  await put(there, "/deep/deeper/new", "new");
  await there.unlink((await resolvePath(there, "/deep", {})).ino, "a");
  expect(await contentOf(place.files(0), "/deep/deeper/new")).toBe("new");
  expect(await contentOf(place.files(0), "/a again")).toBe("a");

  await put(one, "/deep/a", "something else");
  await one.unlink(rootIno, "sparse");
  await restore(source, path);
  expect(await treeOf(two)).toEqual(before);
  await unlinked.close();
  await source.allInSync();
}, 120_000);
