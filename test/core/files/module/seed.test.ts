import { afterEach, beforeEach, expect, test } from "bun:test";
import { type AttributesRow, kinds } from "../../../../core/files/attributes.ts";
import type { FileOperation, FileResult, SeedEntry } from "../../../../core/files/operations.ts";
import { superuser, TestVolume } from "./test-volume.ts";

let volume: TestVolume;
beforeEach(() => {
  volume = new TestVolume();
});
afterEach(() => volume.close());

const image = "a".repeat(64);
const contents = new Map<string, Uint8Array>([
  ["1".repeat(64), new Uint8Array(100_000).fill(1)],
  ["2".repeat(64), new Uint8Array(10).fill(2)],
]);
const [large, small] = [...contents.keys()] as [string, string];
const entries: SeedEntry[] = [
  ["/", kinds.directory | 0o750, 0, ""],
  ["/d", kinds.directory | 0o755, 0, ""],
  ["/d/copy", kinds.file | 0o644, 10, small],
  ["/d/e", kinds.directory | 0o700, 0, ""],
  ["/d/e/large", kinds.file | 0o755, 100_000, large],
  ["/empty", kinds.file | 0o644, 0, small],
  ["/link", kinds.symlink | 0o777, 0, "d/é"],
  ["/small", kinds.file | 0o644, 10, small],
];

function seed(from: number, some: SeedEntry[], last: number, digest = image): FileResult {
  const operation: FileOperation = [19, digest, from, some, last];
  return volume.operate(operation);
}
function at(path: string): AttributesRow {
  return volume.ask(["path", superuser, path, 0]) as AttributesRow;
}
async function read(ino: number, offset: number, length: number): Promise<Uint8Array> {
  const [error, bytes] = (await volume.module.read(["read", ino, offset, length])) as FileResult;
  expect(error).toBe("");
  return bytes as Uint8Array;
}
function provideBlobs(): void {
  Object.assign(volume.blocks, {
    readBlob: (digest: string, position: number, length: number) =>
      Promise.resolve(contents.get(digest)!.subarray(position, position + length)),
  });
}

test("a volume begins with its image: in pieces, by several at a time, once", () => {
  expect(seed(0, entries.slice(0, 3), 0)).toEqual(["", 3, 0]);
  // Another one is not so far, and is told where to go on.
  expect(seed(0, entries.slice(0, 5), 0)).toEqual(["", 3, 0]);
  expect(seed(3, entries.slice(3), 1)).toEqual(["", 8, 1]);
  expect(seed(3, entries.slice(3), 1)).toEqual(["", 8, 1]);
  expect(seed(0, entries, 1, "b".repeat(64))).toEqual(["EEXIST"]);
  expect(at("/").slice(0, 3)).toEqual([1, kinds.directory | 0o750, 3]);
  expect(at("/d").slice(1, 3)).toEqual([kinds.directory | 0o755, 3]);
  expect(at("/d/e/large").slice(1, 7)).toEqual([kinds.file | 0o755, 1, 0, 0, 100_000, 100_000]);
  expect(volume.ask(["link", at("/link")[0]])).toBe("d/é");
  expect(at("/link")[5]).toBe(4);
  expect((volume.module.read(["usage"]) as FileResult).slice(1, 4)).toEqual([100_020, 1_099_511_627_776, 8]);
});

test("what is written to a file of the image takes the place of just those bytes", async () => {
  provideBlobs();
  seed(0, entries, 1);
  const [ino] = at("/d/e/large");
  expect(await read(ino, 99_990, 100)).toEqual(contents.get(large)!.slice(99_990));
  volume.operate([7, superuser, ino, 50_000, new Uint8Array(3).fill(9)]);
  const expected = contents.get(large)!.slice();
  expected.fill(9, 50_000, 50_003);
  expect(Buffer.compare(await read(ino, 0, 200_000), expected)).toBe(0);
  volume.operate([6, superuser, ino, -1, -1, -1, 60_000, null, null, 0]);
  volume.operate([6, superuser, ino, -1, -1, -1, 70_000, null, null, 0]);
  expected.fill(0, 60_000);
  expect(Buffer.compare(await read(ino, 0, 200_000), expected.subarray(0, 70_000))).toBe(0);
  expect(at("/d/e/large")[6]).toBe(60_000);
  const found = volume.ask(["extents", ino, 55_000, 10]) as number[][];
  expect(volume.ask(["blob", -found[0]![2]!])).toBe(large);
  // Two files of the same content do not know of each other.
  volume.operate([7, superuser, at("/d/copy")[0], 0, new Uint8Array([5])]);
  expect(await read(at("/small")[0], 0, 20)).toEqual(contents.get(small)!);
});

test("a node without the image answers EIO", async () => {
  Object.assign(volume.blocks, { repair: () => Promise.reject(new Error("no")) });
  seed(0, entries, 1);
  expect(await volume.module.read(["read", at("/small")[0], 0, 10])).toEqual(["EIO"]);
});

test("what somebody has made at a path of the image stays", () => {
  seed(0, entries.slice(0, 1), 0);
  const made = volume.operate([1, superuser, 1, "d", kinds.file | 0o600, "", 0, 1]);
  expect(seed(1, entries.slice(1), 1)).toEqual(["", 8, 1]);
  expect(at("/d")[0]).toBe((made[1] as AttributesRow)[0]);
  expect(volume.errorOf(["path", superuser, "/d/copy", 0])).toBe("ENOTDIR");
  expect(at("/small")[5]).toBe(10);
});

test("entries that no image has are refused, and leave nothing", () => {
  const before = volume.digest();
  for (const wrong of [
    ["d", kinds.directory, 0, ""],
    ["/../x", kinds.directory, 0, ""],
    ["/a//b", kinds.directory, 0, ""],
    ["/s", kinds.socket, 0, ""],
    ["/f", kinds.file, 3, "no digest"],
    ["/l", kinds.symlink, 0, ""],
  ] as SeedEntry[]) {
    expect(seed(0, [entries[0]!, wrong], 0)).toEqual(["EINVAL"]);
  }
  expect(volume.digest()).toBe(before);
});
