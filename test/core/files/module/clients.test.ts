import { afterEach, beforeEach, expect, test } from "bun:test";
import { type AttributesRow, kinds } from "../../../../core/files/attributes.ts";
import type { FileResult } from "../../../../core/files/operations.ts";
import { fileChangesKept, orphanKeptMs, takenPerStep } from "../../../../core/limits.ts";
import { superuser, TestVolume } from "./test-volume.ts";

let volume: TestVolume;
beforeEach(() => {
  volume = new TestVolume();
});
afterEach(() => volume.close());

function makeFile(name: string, open = 0, client = "one"): number {
  const made = volume.operate([1, superuser, 1, name, kinds.file | 0o644, "", open, 1], client);
  return (made[1] as AttributesRow)[0];
}
function unlink(name: string, ino: number): void {
  expect(volume.operate([3, superuser, 1, name, ino])).toEqual([""]);
}
function isThere(ino: number): boolean {
  return volume.errorOf(["attributes", ino]) === "";
}
function used(): unknown[] {
  const [, bytes, , inodes] = volume.module.read(["usage"]) as FileResult;
  return [bytes, inodes];
}
function gone(client: string): void {
  volume.apply({ index: volume.index + 1, timeMs: volume.timeMs, client, operation: null });
}
function count(table: string): unknown {
  return (volume.db.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n;
}

test("a file without a name stays as long as somebody has it open", () => {
  const ino = makeFile("a", 1);
  volume.operate([7, superuser, ino, 0, new Uint8Array(100)]);
  expect(volume.operate([8, ino], "two")).toEqual([""]);
  unlink("a", ino);
  volume.timeMs += 10 * orphanKeptMs;
  volume.tidy();
  expect(volume.operate([7, superuser, ino, -1, new Uint8Array(100)])[0]).toBe("");
  expect(used()).toEqual([200, 2]);
  volume.operate([9, [ino]], "one");
  volume.tidy();
  expect(isThere(ino)).toBe(true);
  volume.operate([9, [ino]], "two");
  expect(used()).toEqual([0, 1]);
  volume.timeMs += orphanKeptMs;
  volume.tidy();
  expect(isThere(ino)).toBe(false);
  expect(count("files_extent")).toBe(0);
});

test("a file without a name that nobody is known to have open stays a while, and after a takeover longer", () => {
  const [first, second] = [makeFile("a"), makeFile("b")];
  unlink("a", first);
  unlink("b", second);
  expect(used()).toEqual([0, 1]);
  volume.timeMs += orphanKeptMs - 1;
  volume.tidy();
  expect(isThere(first)).toBe(true);
  // An open that was under way finds it, and it counts again.
  expect(volume.operate([8, first], "late")).toEqual([""]);
  expect(used()).toEqual([0, 2]);
  volume.module.epochStarted!({ index: ++volume.index, timeMs: volume.timeMs, lostAfter: null });
  volume.timeMs += orphanKeptMs - 1;
  volume.tidy();
  expect(isThere(second)).toBe(true);
  volume.timeMs += 1;
  volume.tidy();
  expect(isThere(second)).toBe(false);
  expect(isThere(first)).toBe(true);
});

test("only who makes a file has it open by that: who finds it there tells of it as of any other open", () => {
  const ino = makeFile("a", 0);
  expect(volume.operate([1, superuser, 1, "a", kinds.file | 0o644, "", 1, 0], "two")[2]).toBe(0);
  expect(count("files_open")).toBe(0);
  unlink("a", ino);
  volume.timeMs += orphanKeptMs;
  volume.tidy();
  expect(isThere(ino)).toBe(false);
});

test("a directory that was removed while it was open takes no names", () => {
  const made = volume.operate([1, superuser, 1, "d", kinds.directory | 0o755, "", 0, 1]);
  const ino = (made[1] as AttributesRow)[0];
  volume.operate([8, ino]);
  expect(volume.operate([4, superuser, 1, "d", ino])).toEqual([""]);
  expect((volume.ask(["attributes", ino]) as AttributesRow)[2]).toBe(0);
  expect(volume.operate([1, superuser, ino, "a", kinds.file, "", 0, 1])).toEqual(["ENOENT"]);
  expect(volume.ask(["entries", ino, 0, 10, 0])).toEqual([]);
});

test("what a client that is gone had open, locked and shared goes with it, a bounded step at a time", () => {
  const inos = Array.from({ length: 3 * takenPerStep }, (_, i) => makeFile(`f${i}`, 1));
  for (const [i, ino] of inos.entries()) unlink(`f${i}`, ino);
  volume.operate([10, inos[0]!, 0, 2, 0, -1, "p", 1, 0]);
  const shared = makeFile("shared");
  volume.operate([12, shared, "x"]);
  volume.operate([13, "x"], "two");
  gone("one");
  expect(count("files_gone")).toBe(1);
  expect(count("files_lock")).toBe(0);
  expect(count("files_open")).toBeGreaterThan(takenPerStep);
  volume.tidy();
  expect([count("files_gone"), count("files_open"), count("files_sharer")]).toEqual([0, 0, 1]);
  expect(used()).toEqual([0, 2]);
  gone("two");
  expect(volume.errorOf(["offset", "x"])).toBe("EBADF");
  volume.timeMs += orphanKeptMs;
  volume.tidy();
  expect(count("files_inode")).toBe(2);
  expect(count("files_orphan")).toBe(0);
});

test("a client that does not attend within its time is gone; after a takeover it has the time again", () => {
  const ino = makeFile("a");
  expect(volume.operate([17, 5_000], "person")).toEqual([""]);
  expect(volume.operate([10, ino, 0, 2, 0, -1, "p", 1, 0], "person")).toEqual(["", 1]);
  volume.timeMs += 4_000;
  volume.operate([17, 5_000], "person");
  volume.timeMs += 4_999;
  expect(volume.module.due!(volume.timeMs)).toBe(null);
  volume.module.epochStarted!({ index: ++volume.index, timeMs: volume.timeMs, lostAfter: null });
  volume.timeMs += 4_999;
  expect(volume.module.due!(volume.timeMs)).toBe(null);
  volume.timeMs += 1;
  volume.tidy();
  expect([count("files_attendee"), count("files_lock")]).toEqual([0, 0]);
});

test("an offset that is shared moves on by what each takes, and no further than the end where that is asked", () => {
  const ino = makeFile("a");
  volume.operate([7, superuser, ino, 0, new Uint8Array(100)]);
  expect(volume.operate([12, ino, "x"], "one")).toEqual(["", 0]);
  expect(volume.operate([12, ino, "x"], "two")).toEqual(["EEXIST"]);
  expect(volume.operate([13, "x"], "two")).toEqual(["", 0]);
  expect(volume.operate([14, "x", 60, 0], "one")).toEqual(["", 0, 60]);
  expect(volume.operate([14, "x", 60, 0], "two")).toEqual(["", 60, 40]);
  expect(volume.operate([14, "x", 60, 0], "one")).toEqual(["", 100, 0]);
  expect(volume.operate([14, "x", 60, 1], "one")).toEqual(["", 100, 60]);
  expect(volume.operate([15, "x", 7], "two")).toEqual([""]);
  expect(volume.ask(["offset", "x"])).toBe(7);
  volume.operate([16, "x"], "one");
  expect(volume.ask(["offset", "x"])).toBe(7);
  volume.operate([16, "x"], "two");
  expect(volume.errorOf(["offset", "x"])).toBe("EBADF");
  expect(volume.operate([13, "x"], "one")).toEqual(["EBADF"]);
});

test("a quota holds for bytes and for inodes, and what takes the place of other bytes is no more", () => {
  const ino = makeFile("a");
  expect(volume.operate([18, 1_000, 3])).toEqual([""]);
  expect(volume.operate([7, superuser, ino, 0, new Uint8Array(1_000)])[0]).toBe("");
  const before = volume.digest();
  expect(volume.operate([7, superuser, ino, 999, new Uint8Array(2)])).toEqual(["EDQUOT"]);
  expect(volume.digest()).toBe(before);
  expect(volume.operate([7, superuser, ino, 1, new Uint8Array(999)])[0]).toBe("");
  makeFile("b");
  expect(volume.operate([1, superuser, 1, "c", kinds.file, "", 0, 1])).toEqual(["EDQUOT"]);
  expect(volume.operate([2, superuser, ino, 1, "c"])[0]).toBe("");
  volume.operate([18, 500, 1]);
  expect(volume.operate([6, superuser, ino, -1, -1, -1, 400, null, null, 0])[0]).toBe("");
  expect(volume.operate([7, superuser, ino, -1, new Uint8Array(100)])[0]).toBe("");
  expect(volume.operate([7, superuser, ino, -1, new Uint8Array(1)])).toEqual(["EDQUOT"]);
});

test("changes are told to whoever follows: each inode after its change, or that too much was missed", () => {
  const follower = volume.module.follow!(["changes", -1]);
  expect(follower.next(10)).toEqual([[0, 0]]);
  const ino = makeFile("a");
  volume.operate([7, superuser, ino, 0, new Uint8Array(1)]);
  expect(follower.next(10)).toEqual([
    [1, 1],
    [ino, 2],
  ]);
  expect(follower.next(10)).toEqual([]);
  expect(volume.operate([3, superuser, 1, "none", 99])).toEqual(["ENOENT"]);
  expect(follower.next(10)).toEqual([]);
  const late = volume.module.follow!(["changes", 1]);
  expect(late.next(10)).toEqual([[ino, 2]]);
  for (let i = 0; i <= fileChangesKept; i++)
    volume.operate([6, superuser, ino, 0o600, -1, -1, -1, null, null, 0]);
  expect(() => follower.next(10)).toThrow("no longer kept");
  expect(() => volume.module.follow!(["changes", 2])).toThrow("no longer kept");
  expect(volume.module.follow!(["changes", volume.index - 5]).next(10).length).toBe(5);
}, 60_000);
