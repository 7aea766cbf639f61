import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { segmentName } from "../../../../core/blocks/segment-name.ts";
import type { LocalFiles } from "../../../../core/files/client/local-files.ts";
import type { VolumeClient } from "../../../../core/files/client/volume-client.ts";
import type { FileError } from "../../../../core/files/errno.ts";
import { rootIno } from "../../../../core/files/file-system.ts";
import type { LocalReader } from "../../../../core/state/client/local-reader.ts";
import { labBesideForFile, type VolumeLab } from "./volume-lab.ts";

// Each look waits for a lease, which a loaded machine loses.
setDefaultTimeout(60_000);

let lab: VolumeLab;
/** Far from the replica, as it were. */
let far: VolumeClient;
let reader: LocalReader;
let local: LocalFiles;
labBesideForFile((beside) => {
  ({ lab, far, reader, local } = beside);
});

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes);
/** Once what was acknowledged is in the database, for others to see. */
async function sure<T>(look: () => T | null): Promise<T> {
  for (;;) {
    const seen = look();
    if (seen !== null) return seen;
    await Bun.sleep(1);
  }
}
let names = 0;
async function fileOf(bytes: Uint8Array): Promise<{ ino: number; name: string }> {
  const name = `file-${++names}`;
  const { file } = await far.create(rootIno, name, 0o644, { write: true });
  await file.write(0, bytes);
  await file.close();
  return { ino: file.ino, name };
}
/** Pieces that each tell where they are. */
function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (Math.imul(i >> 2, 2_654_435_761) + seed * i) >>> 13;
  return bytes;
}

test("attributes, names and bytes are read without a message", async () => {
  const { ino, name } = await fileOf(bytesOf("beside the replica"));
  expect(await sure(() => local.attributes(ino))).toMatchObject({ ino, size: 18 });
  expect(await sure(() => local.lookup(rootIno, name))).toMatchObject({ ino, size: 18 });
  expect(textOf(await sure(() => local.read(ino, 0, 100)))).toBe("beside the replica");
  expect(textOf(await sure(() => local.read(ino, 7, 3)))).toBe("the");
  expect(textOf(await sure(() => local.read(ino, 18, 3)))).toBe("");
  const refusal = (look: () => unknown) =>
    sure(() => {
      try {
        return look() as null;
      } catch (e) {
        return (e as FileError).code;
      }
    });
  expect(await refusal(() => local.lookup(rootIno, "no such name"))).toBe("ENOENT");
  // The operation that makes an inode cannot say which: only the replica knows that there is none.
  expect(local.attributes(999_999)).toBeNull();
});

test("what was acknowledged is seen, however often it was read before", async () => {
  const { ino } = await fileOf(bytesOf("0".repeat(10)));
  const near = lab.volume("near", () => local);
  const file = await near.open(ino, { read: true });
  const writing = await far.open(ino, { write: true });
  for (let round = 1; round <= 100; round++) {
    const text = String(round).padStart(10, "0");
    await writing.write(0, bytesOf(text));
    // Also where nobody has looked while it was under way.
    if (round % 10 < 2) await Bun.sleep(20);
    expect(textOf(await file.read(0, 10))).toBe(text);
    if (round % 7 === 0) expect((await file.attributes()).change).toBeGreaterThan(0);
  }
  await writing.truncate(3);
  expect((await near.attributes(ino)).size).toBe(3);
  expect(textOf(await file.read(0, 10))).toBe("000");
  await Promise.all([file.close(), writing.close()]);
});

test("names that move are seen where they are", async () => {
  const near = lab.volume("near-names", () => local);
  const one = await fileOf(bytesOf("one"));
  const two = await fileOf(bytesOf("two"));
  for (let round = 0; round < 40; round++) {
    await far.rename(rootIno, one.name, rootIno, two.name, "exchange");
    if (round % 10 < 2) await Bun.sleep(20);
    const [first, second] = round % 2 === 0 ? [two, one] : [one, two];
    expect((await near.lookup(rootIno, one.name)).ino).toBe(first.ino);
    expect((await near.lookup(rootIno, two.name)).ino).toBe(second.ino);
  }
  await far.unlink(rootIno, one.name);
  const gone = await near.lookup(rootIno, one.name).catch((e: FileError) => e.code);
  expect(gone).toBe("ENOENT");
  const { file } = await far.create(rootIno, one.name, 0o644, {});
  expect((await near.lookup(rootIno, one.name)).ino).toBe(file.ino);
  await file.close();
});

test("a directory that moves is below where it is", async () => {
  const near = lab.volume("near-parents", () => local);
  const one = await far.makeDirectory(rootIno, "parent-1", 0o755);
  const two = await far.makeDirectory(rootIno, "parent-2", 0o755);
  const { ino } = await far.makeDirectory(one.ino, "child", 0o755);
  for (let round = 0; round < 40; round++) {
    const [from, to] = round % 2 === 0 ? [one.ino, two.ino] : [two.ino, one.ino];
    expect((await near.lookup(ino, "..")).ino).toBe(from);
    await far.rename(from, "child", to, "child");
    if (round % 10 < 2) await Bun.sleep(20);
    expect((await near.lookup(ino, "..")).ino).toBe(to);
  }
  expect(await sure(() => local.lookup(ino, ".."))).toMatchObject({ ino: one.ino });
});

test("large files are read whole and in parts, with their holes", async () => {
  const bytes = pattern(9 * 1_024 * 1_024 + 777);
  const { ino } = await fileOf(bytes);
  const hole = await far.open(ino, { write: true });
  await hole.write(12 * 1_024 * 1_024, bytesOf("end"));
  await hole.write(1_000_003, bytesOf("patched"));
  bytes.set(bytesOf("patched"), 1_000_003);
  const whole = new Uint8Array(12 * 1_024 * 1_024 + 3);
  whole.set(bytes);
  whole.set(bytesOf("end"), 12 * 1_024 * 1_024);
  await sure(() => local.attributes(ino));
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    for (;;) {
      const bytes = await local.read(ino, offset, length);
      if (bytes) return bytes;
      await Bun.sleep(1);
    }
  };
  expect(Buffer.compare(await read(0, whole.length + 100), whole)).toBe(0);
  for (let i = 0; i < 200; i++) {
    const offset = Math.floor(Math.random() * whole.length);
    const length = 1 + Math.floor(Math.random() ** 4 * 600_000);
    const part = await read(offset, length);
    expect(Buffer.compare(part, whole.subarray(offset, offset + length))).toBe(0);
  }
  await hole.close();
});

test("bytes that the disk has damaged are not given: the replica is asked", async () => {
  const bytes = pattern(100_000, 7);
  const { ino } = await fileOf(bytes);
  await sure(() => local.attributes(ino));
  const found = reader.state()!.module("files")!.read(["extents", ino, 50_000, 10]) as [string, number[][]];
  const [, , segment, position, lead] = found[1][0]!;
  const path = join(lab.dir, "data", "blocks", segmentName(segment!));
  const content = readFileSync(path);
  content[position! + lead!] = content[position! + lead!]! ^ 1;
  writeFileSync(path, content, { flag: "r+" });
  // The page is not given, however often it is asked for; the others are.
  for (let i = 0; i < 5; i++) {
    await sure(() => local.attributes(ino));
    expect(await local.read(ino, 50_000, 10)).toBeNull();
  }
  const good = await sure(() => local.read(ino, 0, 10));
  expect(Buffer.compare(good!, bytes.subarray(0, 10))).toBe(0);
});

test("nothing is read once the replica has gone", async () => {
  const { ino } = await fileOf(bytesOf("here"));
  await sure(() => local.attributes(ino));
  lab.host.guard!.close();
  expect(local.attributes(ino)).toBeNull();
  expect(local.read(ino, 0, 4)).toBeNull();
});
