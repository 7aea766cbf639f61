/**
 * Backup and restore of files on real state processes: what two clients on two nodes have written is there again, byte
 * by byte and in all that is said of it, in another instance and in the same one; as of one moment, whatever was being
 * written; and a restore that is cut down in the middle leaves the old files or the new ones.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type FileSystem, rootIno } from "../../core/files/file-system.ts";
import type { VolumeClient } from "../../core/files/client/volume-client.ts";
import { openPath, resolvePath } from "../../core/files/paths.ts";
import { DvsError } from "../../core/errors.ts";
import { stateSockets } from "../../core/state/boot.ts";
import { checkedBackup, encodeBackup, readBackup, streamsOf } from "../../core/state/backup/format.ts";
import { stateDigest } from "../../core/state/digest.ts";
import { modules } from "../../core/state/modules.ts";
import { databaseName } from "../../core/state/schema.ts";
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

/** What the database of a replica has, read beside its state process. */
function look<T>(cluster: StateCluster, at: number, act: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(join(cluster.dataDir(at), databaseName), { readOnly: true });
  try {
    return act(db);
  } finally {
    db.close();
  }
}
const pieces = (cluster: StateCluster, at: number): number =>
  look(cluster, at, (db) => Number(db.prepare("SELECT pieces FROM restore_state").get()!["pieces"]));
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const untilMs = performance.now() + 60_000; !(await holds()); await sleep(20))
    if (performance.now() > untilMs) throw new Error(`never: ${what}`);
}
/** Replicas agree on everything that they have applied, and nothing of what was put aside is left. */
async function agree(cluster: StateCluster): Promise<void> {
  await cluster.allInSync();
  const applied = (at: number) =>
    look(cluster, at, (db) => Number(db.prepare("SELECT record FROM applied").get()!["record"]));
  await until("the replicas agree", () => {
    const before = [applied(0), applied(1)];
    const digests = [0, 1].map((at) => look(cluster, at, (db) => stateDigest(db, modules)));
    return new Set(digests).size === 1 && new Set([...before, applied(0), applied(1)]).size === 1;
  });
  const left = "SELECT 1 FROM sqlite_master WHERE name GLOB 'trash_*' OR name GLOB 'restore_[0-9]*'";
  await until("what was put aside is gone", () =>
    [0, 1].every((at) => look(cluster, at, (db) => !db.prepare(left).get())),
  );
  // Each segment is somebody's.
  for (const at of [0, 1]) {
    const others = `SELECT number FROM segment EXCEPT
      SELECT segment FROM files_segment EXCEPT SELECT segment FROM files_counter`;
    expect(look(cluster, at, (db) => db.prepare(others).all())).toEqual([]);
  }
}
const codeOf = (action: Promise<unknown>): Promise<string> =>
  action.then(
    () => "ok",
    (e: unknown) => (e instanceof DvsError ? e.code : String(e)),
  );

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
  await agree(source);
  await agree(place);
}, 120_000);

test("a backup is of one moment: what was written later is never in it without what was written before", async () => {
  const [one, two] = [source.files(0), source.files(1)];
  await put(one, "/first", "0".padStart(12));
  await put(one, "/second", "0".padStart(12));
  const ended = new AbortController();
  let rounds = 0;
  const count = async (): Promise<void> => {
    for (let i = 1; !ended.signal.aborted; i++) {
      await put(one, "/first", String(i).padStart(12));
      // By another node, which has seen it.
      await put(two, "/second", await contentOf(two, "/first"));
      rounds = i;
    }
  };
  const noise = async (): Promise<void> => {
    for (let i = 0; !ended.signal.aborted; i++) {
      await put(two, `/noise-${i % 20}`, pattern(100_000, i));
      if (i % 3 === 0) await two.rename(rootIno, `noise-${i % 20}`, rootIno, "renamed");
    }
  };
  const writers = [count(), noise()];
  const there = place.files(0);
  const seen: number[] = [];
  for (let i = 0; i < 3; i++) {
    const from = rounds;
    await until("it goes on", () => rounds > from + 3);
    const path = await backup(source, `moment-${i}`);
    await restore(place, path);
    const [first, second] = [await contentOf(there, "/first"), await contentOf(there, "/second")].map(Number);
    expect(first! - second!).toBeOneOf([0, 1]);
    expect(second).toBeGreaterThanOrEqual(from);
    seen.push(second!);
  }
  ended.abort();
  await Promise.all(writers);
  expect(new Set(seen).size).toBe(3);
}, 120_000);

test("a backup that is damaged or cut short is refused, and nothing was touched", async () => {
  const there = place.files(0);
  await put(there, "/mark", "untouched");
  const before = await treeOf(there);
  const whole = await Bun.file(join(dir, "all")).bytes();
  const damaged = async (bytes: Uint8Array, name: string): Promise<string> => {
    await Bun.write(join(dir, name), bytes);
    return join(dir, name);
  };
  const flipped = whole.slice();
  flipped[whole.length - 10 * MiB]! ^= 1;
  // As one that was damaged before it was taken: its bytes are not those of its checksums.
  const { header } = await readBackup(createReadStream(join(dir, "all")));
  async function* worse(): AsyncGenerator<Uint8Array> {
    const { chunks } = await readBackup(createReadStream(join(dir, "all")));
    let at = 0;
    for await (const [name, part] of streamsOf(header, chunks)) {
      const copy = part.slice();
      if (name === "blocks" && at <= MiB && at + part.length > MiB) copy[MiB - at]! ^= 1;
      if (name === "blocks") at += part.length;
      yield copy;
    }
  }
  const rotten = await Array.fromAsync(encodeBackup(header, worse()), (part) => part.slice());
  const fewer = encodeBackup({ ...header, streams: header.streams!.slice(0, 1) }, worse());
  const cases: [string, Uint8Array, string][] = [
    ["short", whole.subarray(0, whole.length - 1_000_000), "FAILED"],
    ["flipped", flipped, "FAILED"],
    ["rotten", Buffer.concat(rotten), "INVALID"],
    ["fewer", Buffer.concat(await Array.fromAsync(fewer, (part) => part.slice())), "FAILED"],
  ];
  for (const [name, bytes, code] of cases)
    expect([name, await codeOf(restore(place, await damaged(bytes, name)))]).toEqual([name, code]);
  expect(pieces(place, 0)).toBe(0);
  expect(await treeOf(there)).toEqual(before);
}, 120_000);

test("the primary is killed in the middle of a restore: the old files or the new ones, on all replicas; the next one does it", async () => {
  const wanted = join(dir, "all");
  await restore(source, wanted);
  const inBackup = await treeOf(source.files(0));
  for (const at of [1, 70, 135]) {
    await put(place.files(0), "/mark", `before ${at}`);
    const before = await treeOf(place.files(1));
    const backupAt = place.backup;
    const pid = place.pid(place.primary);
    const outcome = codeOf(restore(place, wanted));
    await until("pieces have come to the other replica", () => pieces(place, backupAt) >= at);
    process.kill(pid, "SIGKILL");
    expect(await outcome).toBeOneOf(["OUTCOME_UNKNOWN", "ok"]);
    await place.allInSync();
    const after = JSON.stringify(await treeOf(place.files(0)));
    const is = [before, inBackup].findIndex((tree) => JSON.stringify(tree) === after);
    expect(is === 1 || ((await outcome) !== "ok" && is === 0)).toBe(true);
  }
  await restore(place, wanted);
  expect(await treeOf(place.files(1))).toEqual(inBackup);
  await agree(place);
}, 180_000);
