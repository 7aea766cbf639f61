import { afterEach, beforeEach, expect, test } from "bun:test";
import { type AttributesRow, kinds } from "../../../../core/files/attributes.ts";
import type { By } from "../../../../core/files/operations.ts";
import { superuser, TestVolume } from "./test-volume.ts";

const alice: By = [100, 100, [300]];
const bob: By = [200, 200, []];

let volume: TestVolume;
beforeEach(() => {
  volume = new TestVolume();
});
afterEach(() => volume.close());

function make(parent: number, name: string, mode: number, by: By = superuser, target = ""): number {
  const [error, row] = volume.operate([1, by, parent, name, mode, target, 0, 1]);
  expect(error).toBe("");
  return (row as AttributesRow)[0];
}
function makeDirectory(parent: number, name: string, mode = 0o755, by: By = superuser): number {
  return make(parent, name, kinds.directory | mode, by);
}
function change(ino: number, by: By, mode: number, uid = -1, gid = -1): unknown {
  return volume.operate([6, by, ino, mode, uid, gid, -1, null, null, 0])[0];
}
function modeOf(ino: number): number {
  return (volume.ask(["attributes", ino]) as AttributesRow)[1] & 0o7777;
}
function rename(from: number, name: string, to: number, toName: string, how: number, ino: number, old = 0) {
  return volume.operate([5, superuser, from, name, to, toName, how, ino, old])[0];
}

test("a listing goes on where it was, whatever was made, removed or renamed meanwhile", () => {
  const directory = makeDirectory(1, "d");
  const inos = Array.from({ length: 50 }, (_, i) => make(directory, `f${i}`, kinds.file));
  const seen: string[] = [];
  let after = 0;
  for (let round = 0; ; round++) {
    const page = volume.ask(["entries", directory, after, 7, 0]) as [string, number, number, number][];
    if (page.length === 0) break;
    for (const [name, ino, , cookie] of page) {
      seen.push(name);
      after = cookie;
      // Each is renamed as it is seen, and none is seen again.
      expect(rename(directory, name, directory, `${name}.seen`, 0, ino)).toBe("");
    }
    if (round < 3) {
      volume.operate([3, superuser, directory, `f${40 + round}`, inos[40 + round]!]);
      make(directory, `new${round}`, kinds.file);
    }
  }
  const expected = inos.map((_, i) => `f${i}`).filter((_, i) => i < 40 || i > 42);
  expect(seen).toEqual([...expected, "new0", "new1", "new2"]);
});

test("names that Linux refuses are refused alike, and change nothing", () => {
  const ino = make(1, "a", kinds.file);
  const before = volume.digest();
  const long = "ä".repeat(128);
  for (const [name, error] of [
    ["", "ENOENT"],
    ["a/b", "EINVAL"],
    ["a\0b", "EINVAL"],
    [long, "ENAMETOOLONG"],
    [".", "EEXIST"],
    ["..", "EEXIST"],
  ] as const) {
    expect(volume.operate([1, superuser, 1, name, kinds.file, "", 0, 1])).toEqual([error]);
    expect(volume.operate([2, superuser, ino, 1, name])).toEqual([error]);
  }
  expect(() => volume.operate([1, superuser, 1, "\ud800", kinds.file, "", 0, 1])).toThrow("well-formed");
  for (const [target, error] of [
    ["", "ENOENT"],
    ["x".repeat(4_096), "ENAMETOOLONG"],
    ["a\0", "EINVAL"],
  ] as const) {
    expect(volume.operate([1, superuser, 1, "l", kinds.symlink, target, 0, 1])).toEqual([error]);
  }
  expect(volume.operate([1, superuser, 1, "dev", 0o020000, "", 0, 1])).toEqual(["EPERM"]);
  expect(volume.digest()).toBe(before);
  make(1, long.slice(1), kinds.file);
});

test("a name that has another inode than whoever changes it believes is looked at again", () => {
  const [a, b] = [make(1, "a", kinds.file), make(1, "b", kinds.file)];
  const before = volume.digest();
  expect(volume.operate([3, superuser, 1, "a", b])).toEqual(["changed"]);
  expect(rename(1, "a", 1, "b", 0, b, b)).toBe("changed");
  expect(rename(1, "a", 1, "b", 0, a, 0)).toBe("changed");
  expect(rename(1, "a", 1, "c", 0, a, b)).toBe("changed");
  expect(volume.digest()).toBe(before);
});

test("a directory does not become a part of itself, also by way of an exchange", () => {
  const a = makeDirectory(1, "a");
  const b = makeDirectory(a, "b");
  const c = makeDirectory(b, "c");
  expect(rename(1, "a", c, "x", 0, a)).toBe("EINVAL");
  expect(rename(1, "a", a, "x", 0, a)).toBe("EINVAL");
  expect(rename(1, "a", b, "c", 2, a, c)).toBe("EINVAL");
  expect(rename(b, "c", 1, "a", 2, c, a)).toBe("EINVAL");
  expect(rename(b, "c", 1, "a", 0, c, a)).toBe("ENOTEMPTY");
  expect(rename(b, "c", 1, "c", 0, c)).toBe("");
  expect((volume.ask(["lookup", null, c, ".."]) as AttributesRow)[0]).toBe(1);
});

test("in a sticky directory only owners remove and rename", () => {
  const shared = makeDirectory(1, "tmp", 0o1777);
  const mine = make(shared, "mine", kinds.file | 0o666, alice);
  expect(volume.operate([3, bob, shared, "mine", mine])).toEqual(["EPERM"]);
  expect(volume.operate([5, bob, shared, "mine", shared, "his", 0, mine, 0])).toEqual(["EPERM"]);
  const his = make(shared, "his", kinds.file | 0o666, bob);
  expect(volume.operate([5, bob, shared, "his", shared, "mine", 0, his, mine])).toEqual(["EPERM"]);
  expect(volume.operate([3, alice, shared, "mine", mine])).toEqual([""]);
});

test("what is made in a set-group-ID directory has its group, and directories the bit", () => {
  const directory = makeDirectory(1, "d", 0o777);
  expect(change(directory, superuser, 0o2777, -1, 300)).toBe("");
  const child = makeDirectory(directory, "child", 0o755, bob);
  expect(volume.ask(["attributes", child]) as unknown[]).toMatchObject({
    1: kinds.directory | 0o2755,
    4: 300,
  });
  expect(modeOf(make(directory, "p", kinds.file | 0o2755, bob))).toBe(0o755);
  expect(modeOf(make(directory, "q", kinds.file | 0o2755, alice))).toBe(0o2755);
});

test("set-user-ID ends with a write, a cut or a change of owner; uid 0 writes without ending it", () => {
  const program = make(1, "p", kinds.file | 0o6777, superuser);
  volume.operate([7, superuser, program, 0, new Uint8Array(1)]);
  expect(modeOf(program)).toBe(0o6777);
  volume.operate([7, bob, program, 0, new Uint8Array(1)]);
  expect(modeOf(program)).toBe(0o777);
  change(program, superuser, 0o6767);
  volume.operate([6, bob, program, -1, -1, -1, 0, null, null, 1]);
  // Without execution by the group the bit means something else.
  expect(modeOf(program)).toBe(0o2767);
  change(program, superuser, 0o6777);
  change(program, superuser, -1, 100);
  expect(modeOf(program)).toBe(0o777);
  // A group that its owner is not in does not get the bit.
  change(program, superuser, -1, 100, 200);
  change(program, alice, 0o2777);
  expect(modeOf(program)).toBe(0o777);
});

test("owners give files to their own groups only, and to nobody else", () => {
  const file = make(1, "f", kinds.file | 0o644, superuser);
  change(file, superuser, -1, 100, 100);
  expect(change(file, alice, -1, -1, 300)).toBe("");
  expect(change(file, alice, -1, -1, 200)).toBe("EPERM");
  expect(change(file, alice, -1, 200)).toBe("EPERM");
  expect(change(file, bob, 0o777)).toBe("EPERM");
});

test("now is a time that rises with each record, though the clock stands still", () => {
  const ino = make(1, "f", kinds.file);
  const times = () => (volume.ask(["attributes", ino]) as AttributesRow).slice(7, 13);
  const before = times();
  change(ino, superuser, 0o600);
  const after = times();
  expect(after.slice(0, 4)).toEqual(before.slice(0, 4));
  expect(after[5]!).toBeGreaterThan(before[5]!);
  volume.operate([6, superuser, ino, -1, -1, -1, -1, [-5, 999_999_999], [2 ** 40, 1], 0]);
  expect(times().slice(0, 4)).toEqual([-5, 999_999_999, 2 ** 40, 1]);
  // Any time is the owner's to set, now also whoever may write.
  expect(volume.operate([6, bob, ino, -1, -1, -1, -1, null, [1, 1], 0])).toEqual(["EPERM"]);
  expect(volume.operate([6, bob, ino, -1, -1, -1, -1, 0, 0, 0])).toEqual(["EACCES"]);
  change(ino, superuser, 0o666);
  expect(volume.operate([6, bob, ino, -1, -1, -1, -1, 0, 0, 0])[0]).toBe("");
});

test("a path is walked over links, not too many, by who may", () => {
  const directory = makeDirectory(1, "d", 0o711);
  const file = make(directory, "f", kinds.file);
  make(directory, "up", kinds.symlink, superuser, "../d/./f");
  make(1, "top", kinds.symlink, superuser, "/d");
  make(1, "loop", kinds.symlink, superuser, "loop");
  const at = (path: string, follow = 1, by: By = superuser) => {
    const [error, row] = volume.module.read(["path", by, path, follow]) as [string, AttributesRow];
    return error === "" ? row[0] : error;
  };
  expect(at("/d/f")).toBe(file);
  expect(at("//top//up")).toBe(file);
  expect(at("/top/up", 0)).not.toBe(file);
  expect(at("/d/f/")).toBe("ENOTDIR");
  expect(at("/top/", 0)).toBe(directory);
  expect(at("/loop")).toBe("ELOOP");
  expect(at("/d/none")).toBe("ENOENT");
  expect(at("")).toBe("ENOENT");
  expect(at("/../..")).toBe(1);
  expect(at("/d/f", 1, bob)).toBe(file);
  expect(at(`${"/.".repeat(2_000)}/d/f`)).toBe(file);
  expect(at(`${"/.".repeat(2_048)}/d/f`)).toBe("ENAMETOOLONG");
  // Many links, each of which is a long way to nowhere.
  make(1, "far", kinds.symlink, superuser, "./".repeat(2_000));
  expect(at(Array.from({ length: 30 }, () => "far").join("/"))).toBe("ELOOP");
  change(directory, superuser, 0o700);
  expect(at("/d/f", 1, bob)).toBe("EACCES");
});
