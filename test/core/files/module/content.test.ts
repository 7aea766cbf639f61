import { afterEach, beforeEach, expect, test } from "bun:test";
import { type AttributesRow, kinds } from "../../../../core/files/attributes.ts";
import { files } from "../../../../core/files/module/files.ts";
import type { FileResult } from "../../../../core/files/operations.ts";
import { fileSizeMax, segmentBytes, writeBytesMax } from "../../../../core/limits.ts";
import { superuser, TestVolume } from "./test-volume.ts";

let volume: TestVolume;
beforeEach(() => {
  volume = new TestVolume();
});
afterEach(() => volume.close());

function makeFile(name: string): number {
  const [error, row] = volume.operate([1, superuser, 1, name, kinds.file | 0o644, "", 0, 1]);
  expect(error).toBe("");
  return (row as AttributesRow)[0];
}
function write(ino: number, offset: number, bytes: Uint8Array): FileResult {
  return volume.operate([7, superuser, ino, offset, bytes]);
}
function truncate(ino: number, size: number): FileResult {
  return volume.operate([6, superuser, ino, -1, -1, -1, size, null, null, 0]);
}
async function read(ino: number, offset: number, length: number): Promise<Uint8Array> {
  const [error, bytes] = (await volume.module.read(["read", ino, offset, length])) as FileResult;
  expect(error).toBe("");
  return bytes as Uint8Array;
}
function attributes(ino: number): AttributesRow {
  return volume.ask(["attributes", ino]) as AttributesRow;
}
function extentsOf(ino: number): number[][] {
  return volume.ask(["extents", ino, 0, fileSizeMax]) as number[][];
}
/** A file of so many extents: each second page is a hole. */
function writeScattered(ino: number, many: number): void {
  const page = new Uint8Array(4_096).fill(7);
  for (let i = 0; i < many; i++) expect(write(ino, i * 8_192, page)[0]).toBe("");
}
function tidyLater(): void {
  volume.timeMs += 10_000;
  volume.tidy();
}

test("appends that follow one another are one extent, of at most 256 KiB", async () => {
  const ino = makeFile("log");
  for (let i = 0; i < 300; i++) expect(write(ino, -1, new Uint8Array(1_000).fill(i & 255))[0]).toBe("");
  const found = extentsOf(ino);
  expect(found.length).toBe(2);
  expect(found.every(([, length]) => length! <= 256 * 1024)).toBe(true);
  const bytes = await read(ino, 0, 300_000);
  expect([...bytes].every((byte, i) => byte === (Math.floor(i / 1_000) & 255))).toBe(true);
});

test("a hole takes nothing and reads as zeros", async () => {
  const ino = makeFile("sparse");
  write(ino, 2 ** 40, new Uint8Array([1, 2, 3]));
  expect(attributes(ino).slice(5, 7)).toEqual([2 ** 40 + 3, 3]);
  expect(await read(ino, 2 ** 40 - 2, 100)).toEqual(new Uint8Array([0, 0, 1, 2, 3]));
  expect(await read(ino, 12_345, 3)).toEqual(new Uint8Array(3));
  expect((await read(ino, 2 ** 40 + 3, 10)).length).toBe(0);
});

test("a file is not larger than what numbers can say", () => {
  const ino = makeFile("large");
  expect(write(ino, fileSizeMax, new Uint8Array(1))).toEqual(["EFBIG"]);
  expect(truncate(ino, fileSizeMax)[0]).toBe("");
  expect(write(ino, -1, new Uint8Array(1))).toEqual(["EFBIG"]);
});

test("what was overwritten in the middle of a block stays around it, page by page", async () => {
  const ino = makeFile("a");
  write(ino, 0, new Uint8Array(100_000).fill(1));
  write(ino, 10_001, new Uint8Array(7).fill(2));
  const [, middle, right] = extentsOf(ino);
  expect(middle!.slice(0, 2)).toEqual([10_001, 7]);
  // From the page on that its first byte is in.
  expect(right!.slice(0, 6)).toEqual([10_008, 89_992, 1, 8_192, 1_816, 91_808]);
  const bytes = await read(ino, 9_999, 12);
  expect([...bytes]).toEqual([1, 1, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1]);
});

test("a file of many extents is cut to nothing in one step, and taken apart later", async () => {
  const ino = makeFile("a");
  writeScattered(ino, 1_000);
  expect(truncate(ino, 0)[0]).toBe("");
  expect(attributes(ino).slice(5, 7)).toEqual([0, 0]);
  expect((volume.module.read(["usage"]) as FileResult)[1]).toBe(0);
  write(ino, 8_192, new Uint8Array([9]));
  tidyLater();
  expect(volume.db.prepare("SELECT count(*) AS n FROM files_extent").get()).toEqual({ n: 1 });
  expect(await read(ino, 0, 10_000)).toEqual(new Uint8Array(8_193).with(8_192, 9) as Uint8Array);
});

test("what is left behind the end of a file that was cut never comes back", async () => {
  const ino = makeFile("a");
  writeScattered(ino, 1_100);
  expect(truncate(ino, 110 * 8_192 + 100)[0]).toBe("");
  // All is still there, behind the end.
  expect(volume.db.prepare("SELECT count(*) AS n FROM files_extent").get()).toEqual({ n: 1_100 });
  expect(write(ino, 120 * 8_192 + 50, new Uint8Array([5]))[0]).toBe("");
  const bytes = await read(ino, 110 * 8_192, 20 * 8_192);
  expect(bytes.length).toBe(10 * 8_192 + 51);
  expect(bytes.findLastIndex((byte) => byte !== 0 && byte !== 5)).toBe(99);
  expect(bytes.at(-1)).toBe(5);
  // More than one step can take away comes to light only when it is gone.
  const sizes: unknown[] = [];
  for (let i = 0; i < 20; i++) {
    const [error] = truncate(ino, 1_100 * 8_192);
    sizes.push(error);
    if (error === "") break;
    expect(error).toBe("changed");
    expect(attributes(ino)[5]).toBe(120 * 8_192 + 51);
  }
  expect(sizes.length).toBeGreaterThan(3);
  expect(sizes.at(-1)).toBe("");
  for (let at = 120 * 8_192 + 51; at < 1_100 * 8_192; at += 500_000) {
    expect((await read(ino, at, 500_000)).every((byte) => byte === 0)).toBe(true);
  }
  tidyLater();
  expect(extentsOf(ino).length).toBe(112);
  expect(attributes(ino)[6]).toBe(110 * 4_096 + 100 + 1);
  expect((volume.module.read(["usage"]) as FileResult)[1]).toBe(110 * 4_096 + 100 + 1);
});

test("a large file of which little is kept can grow again at once", async () => {
  const ino = makeFile("a");
  writeScattered(ino, 1_000);
  expect(truncate(ino, 10 * 8_192 + 100)[0]).toBe("");
  expect(attributes(ino)[6]).toBe(10 * 4_096 + 100);
  expect(truncate(ino, 1_000 * 8_192)[0]).toBe("");
  const bytes = await read(ino, 10 * 8_192, 1_000_000);
  expect(bytes.findLastIndex((byte) => byte !== 0)).toBe(99);
  tidyLater();
  expect(extentsOf(ino).length).toBe(11);
  expect(volume.db.prepare("SELECT sum(length) AS live FROM files_extent").get()).toEqual(
    volume.db.prepare("SELECT live FROM files_counter").get() as { live: number },
  );
});

test("a cut tail goes with its file", () => {
  const ino = makeFile("a");
  writeScattered(ino, 500);
  truncate(ino, 8_192 * 100);
  volume.operate([3, superuser, 1, "a", ino]);
  tidyLater();
  expect(volume.errorOf(["attributes", ino])).toBe("ESTALE");
  expect(volume.db.prepare("SELECT count(*) AS n FROM files_extent").get()).toEqual({ n: 0 });
  expect(volume.db.prepare("SELECT count(*) AS n FROM files_reap").get()).toEqual({ n: 0 });
  expect((volume.module.read(["usage"]) as FileResult)[1]).toBe(0);
});

test("of a cut tail that was taken away before the reaper came nothing is left to do", () => {
  // What comes first, so that the reaper comes late.
  const first = makeFile("first");
  writeScattered(first, 500);
  const ino = makeFile("a");
  writeScattered(ino, 300);
  truncate(ino, 8_192 * 100);
  // What is behind the end is taken away by growing, what is before it by cuts.
  while (truncate(ino, 8_192 * 300)[0] === "changed");
  truncate(first, 0);
  truncate(ino, 8_192 * 60);
  truncate(ino, 0);
  volume.operate([3, superuser, 1, "a", ino]);
  tidyLater();
  expect(volume.module.due!(volume.timeMs)).toBe(null);
  expect(volume.db.prepare("SELECT count(*) AS n FROM files_reap").get()).toEqual({ n: 0 });
}, 60_000);

test("bytes that are not those that were written are an EIO, or come from another replica", async () => {
  const ino = makeFile("a");
  write(ino, 0, new Uint8Array(10_000).fill(1));
  volume.blocks.write(1, 5_000, new Uint8Array([99]));
  // The other pages are what they were.
  expect(await read(ino, 0, 4_096)).toEqual(new Uint8Array(4_096).fill(1));
  const repair = (
    _segment: number,
    _position: number,
    length: number,
    isGood: (bytes: Uint8Array) => boolean,
  ) => {
    const good = new Uint8Array(length).fill(1);
    return isGood(good) ? Promise.resolve(good) : Promise.reject(new Error("lost"));
  };
  const blocks = Object.assign(volume.blocks, { repair });
  expect(await read(ino, 4_000, 3_000)).toEqual(new Uint8Array(3_000).fill(1));
  blocks.repair = () => Promise.reject(new Error("nobody has it"));
  expect(await volume.module.read(["read", ino, 4_000, 3_000])).toEqual(["EIO"]);
});

test("a segment of which nobody has anything is given back", () => {
  const bytes = new Uint8Array(writeBytesMax).fill(3);
  const many = segmentBytes / writeBytesMax;
  const first = makeFile("first");
  const second = makeFile("second");
  for (let i = 0; i < many; i++) write(first, -1, bytes);
  write(second, -1, bytes);
  expect(volume.blocks.segments).toEqual([1, 2]);
  volume.operate([3, superuser, 1, "first", first]);
  tidyLater();
  expect(volume.blocks.segments).toEqual([2]);
});

test("what is left of a sparse segment is moved, bytes and all, and the segment is given back", async () => {
  const bytes = new Uint8Array(writeBytesMax);
  const many = (segmentBytes / writeBytesMax) * 2;
  const kept = makeFile("kept");
  const other = makeFile("other");
  for (let i = 0; i < many; i++) {
    // A third of each segment is kept, in pieces of two sizes.
    if (i % 3 === 0) write(kept, -1, bytes.fill(i & 255));
    else write(other, -1, bytes.fill(255));
  }
  write(kept, 1_000, new Uint8Array(10).fill(77));
  const change = attributes(kept)[13];
  truncate(other, 0);
  tidyLater();
  const before = volume.blocks.segments;
  expect(before.length).toBe(3);
  await volume.clean();
  expect(volume.blocks.segments.filter((segment) => before.includes(segment)).length).toBe(1);
  expect(attributes(kept)[13]).toBe(change);
  const pieces = Math.ceil(many / 3);
  for (let i = 0; i < pieces; i++) {
    const expected = new Uint8Array(writeBytesMax).fill((i * 3) & 255);
    if (i === 0) expected.fill(77, 1_000, 1_010);
    expect(Buffer.compare(await read(kept, i * writeBytesMax, writeBytesMax), expected)).toBe(0);
  }
  expect(attributes(kept)[6]).toBe(pieces * writeBytesMax);
}, 60_000);

test("what was written, cut or removed while it was being moved stays so", async () => {
  const bytes = new Uint8Array(writeBytesMax);
  const kept = makeFile("kept");
  const gone = makeFile("gone");
  const whole = makeFile("whole");
  const other = makeFile("other");
  write(kept, 0, bytes.fill(1));
  write(whole, 0, new Uint8Array(5_000).fill(3));
  write(gone, 0, new Uint8Array(1_000).fill(2));
  for (let i = 0; i < segmentBytes / writeBytesMax; i++) write(other, -1, bytes.fill(255));
  truncate(kept, 100_000);
  truncate(other, 0);
  tidyLater();
  const move = (await volume.module.work!())!;
  write(kept, 10, new Uint8Array([9]));
  write(whole, 0, new Uint8Array(5_000).fill(4));
  volume.operate([3, superuser, 1, "gone", gone]);
  const context = {
    index: ++volume.index,
    timeMs: volume.timeMs,
    random: new Uint8Array(16),
    client: "",
    level: files.level,
  };
  expect(volume.module.apply(move, context)).toEqual([""]);
  const now = await read(kept, 0, 200_000);
  expect(now).toEqual(new Uint8Array(100_000).fill(1).with(10, 9) as Uint8Array);
  expect(await read(whole, 0, 9_000)).toEqual(new Uint8Array(5_000).fill(4));
}, 60_000);
