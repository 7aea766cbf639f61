import { afterAll, beforeAll, expect, test } from "bun:test";
import { FileError } from "../../../core/files/errno.ts";
import { type FileSystem, rootIno } from "../../../core/files/file-system.ts";
import { type LoneVolume, openLone } from "../../../core/files/lone.ts";
import { locatePath, openPath, resolvePath } from "../../../core/files/paths.ts";

let volume: LoneVolume;
let fs: FileSystem;
const inos: Record<string, number> = {};
beforeAll(async () => {
  volume = openLone();
  fs = volume.client("walker");
  const make = async (parent: number, name: string) => (await fs.makeDirectory(parent, name, 0o755)).ino;
  inos["a"] = await make(rootIno, "a");
  inos["b"] = await make(inos["a"], "b");
  const { file } = await fs.create(inos["b"], "file", 0o644, {});
  inos["file"] = file.ino;
  for (const [parent, name, target] of [
    [inos["a"], "to-b", "b"],
    [inos["a"], "to-b-slash", "b/"],
    [inos["a"], "to-file", "b/file"],
    [inos["a"], "to-file-slash", "b/file/"],
    [inos["b"], "up", "../.."],
    [inos["b"], "absolute", "/a/b/file"],
    [inos["b"], "dangling", "nothing"],
    [inos["b"], "circle", "circle"],
  ] as const) {
    await fs.makeSymlink(parent, name, target);
  }
  for (let i = 1; i <= 41; i++) await fs.makeSymlink(rootIno, `hop${i}`, i === 1 ? "a" : `hop${i - 1}`);
  const closed = await make(rootIno, "closed");
  await make(closed, "inside");
  await fs.setAttributes(closed, { mode: 0o700 });
});
afterAll(() => volume.close());

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (e: unknown) => (e instanceof FileError ? e.code : String(e)),
  );
const inoOf = async (path: string, options = {}) => (await resolvePath(fs, path, options)).ino;

test("paths lead where Linux leads", async () => {
  for (const path of ["/", ".", "/..", "/a/..", "//", "/a/b/up"]) expect(await inoOf(path)).toBe(rootIno);
  for (const path of ["/a/b", "a//b/", "/a/./b/.", "/a/to-b/", "/a/to-b-slash", "/a/b/up/a/b", "hop40/b"]) {
    expect([path, await inoOf(path)]).toEqual([path, inos["b"]!]);
  }
  for (const path of ["/a/b/file", "/a/to-file", "/a/to-b/absolute", "a/to-b-slash/file"]) {
    expect([path, await inoOf(path)]).toEqual([path, inos["file"]!]);
  }
  expect(await inoOf("b/file", { from: inos["a"] })).toBe(inos["file"]!);
  expect(await inoOf("/b/absolute/..", { root: inos["a"] }).catch((e: FileError) => e.code)).toBe("ENOENT");
  expect(await inoOf("/../../b", { root: inos["a"] })).toBe(inos["b"]!);
  const link = await inoOf("/a/to-file", { follow: false });
  expect(link).not.toBe(inos["file"]!);
  expect(await inoOf("/a/to-b/", { follow: false })).toBe(inos["b"]!);
});

test("paths that lead nowhere say why", async () => {
  const cases: [string, string][] = [
    ["", "ENOENT"],
    ["/nothing", "ENOENT"],
    ["/a/b/dangling", "ENOENT"],
    ["/a/b/file/", "ENOTDIR"],
    ["/a/b/file/x", "ENOTDIR"],
    ["/a/b/file/..", "ENOTDIR"],
    ["/a/to-file/", "ENOTDIR"],
    ["/a/to-file-slash", "ENOTDIR"],
    ["/a/b/circle", "ELOOP"],
    ["/hop41", "ELOOP"],
    [`/${"n".repeat(256)}`, "ENAMETOOLONG"],
    [`/a${"/.".repeat(2_048)}`, "ENAMETOOLONG"],
  ];
  for (const [path, code] of cases) expect([path, await codeOf(resolvePath(fs, path))]).toEqual([path, code]);
  const nobody = fs.as({ uid: 7, gid: 7 });
  expect(await codeOf(resolvePath(nobody, "/closed/inside"))).toBe("EACCES");
  expect(await codeOf(resolvePath(nobody, "/closed"))).toBe("done");
});

test("a name that is to be made is located, there or not", async () => {
  expect(await locatePath(fs, "/a/to-b/new")).toEqual({
    parent: inos["b"]!,
    name: "new",
    mustBeDirectory: false,
  });
  expect(await locatePath(fs, "/a/b/new/")).toEqual({
    parent: inos["b"]!,
    name: "new",
    mustBeDirectory: true,
  });
  expect(await locatePath(fs, "/")).toEqual({ parent: rootIno, name: "", mustBeDirectory: false });
  expect(await codeOf(locatePath(fs, "/nothing/new"))).toBe("ENOENT");
});

test("files are opened and made as open(2) does", async () => {
  const open = async (path: string, options = {}) => {
    const { attributes, file, created } = await openPath(fs, path, { read: true, ...options });
    await file.close();
    return { ino: attributes.ino, created };
  };
  expect(await open("/a/to-file")).toEqual({ ino: inos["file"]!, created: false });
  expect(await codeOf(open("/a/to-file", { follow: false }))).toBe("ELOOP");
  expect(await codeOf(open("/new"))).toBe("ENOENT");
  expect(await open("/new", { create: 0o644 })).toMatchObject({ created: true });
  expect(await open("/new", { create: 0o644 })).toMatchObject({ created: false });
  expect(await codeOf(open("/new", { create: 0o644, exclusive: true }))).toBe("EEXIST");
  expect(await codeOf(open("/a/b/dangling", { create: 0o644, exclusive: true }))).toBe("EEXIST");
  expect(await codeOf(open("/newer/", { create: 0o644 }))).toBe("EISDIR");
  expect(await codeOf(open("/a", { write: true }))).toBe("EISDIR");
  const { ino, created } = await open("/a/b/dangling", { create: 0o644 });
  expect(created).toBe(true);
  expect(await inoOf("/a/b/nothing")).toBe(ino);
});
