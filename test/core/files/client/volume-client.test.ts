import { expect, setDefaultTimeout, test } from "bun:test";
import type { VolumeClient } from "../../../../core/files/client/volume-client.ts";
import { FileError } from "../../../../core/files/errno.ts";
import { kindMask, kinds } from "../../../../core/files/attributes.ts";
import { rootIno } from "../../../../core/files/file-system.ts";
import { writeBytesMax } from "../../../../core/limits.ts";
import { labForFile, type VolumeLab } from "./volume-lab.ts";

setDefaultTimeout(60_000);
let lab: VolumeLab;
let a: VolumeClient;
let b: VolumeClient;
labForFile((opened) => {
  lab = opened;
  [a, b] = [lab.volume("client-a"), lab.volume("client-b")];
});

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (words: string) => new TextEncoder().encode(words);
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (e: unknown) => (e instanceof FileError ? e.code : String(e)),
  );
let names = 0;
const fresh = () => `name-${++names}`;

test("what one client has written the other reads", async () => {
  const name = fresh();
  const { file, created, attributes } = await a.create(rootIno, name, 0o644, { write: true });
  expect(created).toBe(true);
  expect(attributes.mode).toBe(kinds.file | 0o644);
  await file.write(0, bytesOf("hello"));
  const found = await b.lookup(rootIno, name);
  expect(found).toMatchObject({ ino: attributes.ino, size: 5 });
  const other = await b.open(found.ino, { read: true });
  expect(text(await other.read(0, 100))).toBe("hello");
  expect(text(await other.read(1, 3))).toBe("ell");
  expect(text(await other.read(5, 3))).toBe("");
  await Promise.all([file.close(), other.close()]);
});

test("a large write and a large read go in pieces, and are whole", async () => {
  const { file } = await a.create(rootIno, fresh(), 0o644, { read: true, write: true });
  const bytes = new Uint8Array(5 * writeBytesMax + 12_345);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7) ^ (i >> 9);
  await file.write(100, bytes);
  expect((await file.attributes()).size).toBe(bytes.length + 100);
  const back = await file.read(100, bytes.length + 5_000);
  expect(back.length).toBe(bytes.length);
  expect(Buffer.compare(back, bytes)).toBe(0);
  expect(await file.read(0, 100)).toEqual(new Uint8Array(100));
  await file.close();
});

test("appends of several clients do not mix", async () => {
  const name = fresh();
  const { file } = await a.create(rootIno, name, 0o644, { write: true, append: true });
  const other = await b.open((await b.lookup(rootIno, name)).ino, { write: true, append: true });
  const line = (who: string, i: number) => bytesOf(`${who}${String(i).padStart(98, ".")}\n`);
  const offsets = await Promise.all(
    Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? file : other).write(0, line(i % 2 ? "b" : "a", i))),
  );
  expect(new Set(offsets).size).toBe(40);
  const all = await (await a.open(file.ino, { read: true })).read(0, 100_000);
  expect(all.length).toBe(40 * 100);
  expect(
    text(all)
      .split("\n")
      .filter((l) => /^[ab]\.+\d+$/.test(l)).length,
  ).toBe(40);
});

test("names are made, moved and removed", async () => {
  const dir = await a.makeDirectory(rootIno, fresh(), 0o755);
  const { file, attributes } = await a.create(dir.ino, "one", 0o600, {});
  await file.close();
  await b.rename(dir.ino, "one", dir.ino, "two");
  expect(await codeOf(a.lookup(dir.ino, "one"))).toBe("ENOENT");
  expect((await a.makeLink(attributes.ino, dir.ino, "three")).nlink).toBe(2);
  const link = await a.makeSymlink(dir.ino, "four", "two");
  expect(await b.readLink(link.ino)).toBe("two");
  const entries = await b.entries(dir.ino, 0, 100, true);
  expect(Object.fromEntries(entries.map((e) => [e.name, e.kind]))).toEqual({
    four: kinds.symlink,
    three: kinds.file,
    two: kinds.file,
  });
  expect(entries.find((e) => e.name === "two")!.attributes).toMatchObject({ ino: attributes.ino, nlink: 2 });
  expect(await codeOf(a.removeDirectory(rootIno, "no such"))).toBe("ENOENT");
  expect(await codeOf(a.unlink(rootIno, "a".repeat(256)))).toBe("ENAMETOOLONG");
  expect(await codeOf(a.makeDirectory(rootIno, ".", 0o755))).toBe("EEXIST");
  for (const name of ["two", "three", "four"]) await b.unlink(dir.ino, name);
  expect(await a.entries(dir.ino, 0, 100)).toEqual([]);
});

test("whoever is too slow for a name looks again", async () => {
  const dir = await a.makeDirectory(rootIno, fresh(), 0o755);
  const turns = 30;
  const replace = async (volume: VolumeClient, own: string) => {
    for (let i = 0; i < turns; i++) {
      const { file } = await volume.create(dir.ino, own, 0o644, { exclusive: true });
      await file.close();
      await volume.rename(dir.ino, own, dir.ino, "same");
    }
  };
  await Promise.all([replace(a, "mine"), replace(b, "yours")]);
  expect((await a.entries(dir.ino, 0, 100)).map(({ name }) => name)).toEqual(["same"]);
});

test("a name that is there is opened unless exclusively wanted, and by whom may", async () => {
  const name = fresh();
  const first = await a.create(rootIno, name, 0o600, { write: true });
  await first.file.write(0, bytesOf("something"));
  expect(await codeOf(b.create(rootIno, name, 0o600, { exclusive: true }))).toBe("EEXIST");
  const again = await b.create(rootIno, name, 0o600, { write: true, truncate: true });
  expect(again).toMatchObject({ created: false, attributes: { size: 0, ino: first.attributes.ino } });
  const nobody = b.as({ uid: 1_000, gid: 1_000 });
  expect(await codeOf(nobody.open(first.attributes.ino, { read: true }))).toBe("EACCES");
  expect(await codeOf(nobody.create(rootIno, name, 0o600, { write: true }))).toBe("EACCES");
  expect(await codeOf(b.open(rootIno, { write: true }))).toBe("EISDIR");
});

test("what a file was opened for it can do, and nothing after its close", async () => {
  const { file } = await a.create(rootIno, fresh(), 0o644, { read: true });
  expect(await codeOf(file.write(0, bytesOf("x")))).toBe("EBADF");
  expect(await codeOf(file.read(-1, 5))).toBe("EINVAL");
  await file.close();
  expect(await codeOf(file.read(0, 1))).toBe("EBADF");
});

test("attributes are set and told", async () => {
  const { attributes, file } = await a.create(rootIno, fresh(), 0o644, {});
  const set = await b.setAttributes(attributes.ino, {
    mode: 0o4711,
    uid: 5,
    gid: 6,
    size: 1_000,
    mtime: { seconds: -7, nanos: 8 },
  });
  expect(set).toMatchObject({ uid: 5, gid: 6, size: 1_000, mtime: { seconds: -7, nanos: 8 } });
  expect(set.mode & ~kindMask).toBe(0o4711);
  expect((await a.setAttributes(attributes.ino, { mtime: "now" })).mtime.seconds).toBeGreaterThan(0);
  expect(await a.attributes(attributes.ino)).toMatchObject({ uid: 5, size: 1_000 });
  await file.close();
});

test("how full it is, is told", async () => {
  const usage = await a.usage();
  expect(usage.inodes).toBeGreaterThan(1);
  expect(usage.bytes).toBeGreaterThan(0);
  expect(usage.bytesMax).toBeGreaterThan(usage.bytes);
});

test("it is all on the disk after a sync", async () => {
  await a.sync();
  const { log } = lab.host.machine;
  expect(log.durable).toBe(log.lastIndex);
});

test("work goes on over broken links", async () => {
  const name = fresh();
  const { file } = await a.create(rootIno, name, 0o644, { read: true, write: true });
  const bytes = new Uint8Array(12 * writeBytesMax).fill(9);
  const writing = file.write(0, bytes);
  await Bun.sleep(3);
  lab.breakLinks();
  await writing;
  expect((await file.read(0, bytes.length)).every((byte) => byte === 9)).toBe(true);
  await file.close();
});

test("a file that is put whole takes the place of what has the name, which stays for those who have it open", async () => {
  const name = fresh();
  const mtime = { seconds: 1_700_000_000, nanos: 7 };
  const first = (await a.put(rootIno, name, bytesOf("first"), { mode: 0o640, uid: 5, gid: 6, mtime }))!;
  expect(first).toMatchObject({ mode: kinds.file | 0o640, uid: 5, gid: 6, size: 5, nlink: 1, mtime });
  const old = await b.open(first.ino, { read: true });
  // What it had a moment ago, as somebody believes who was not told of the first.
  const second = (await a.put(rootIno, name, bytesOf("second!"), { mode: 0o600 }, 0))!;
  expect(second.ino).not.toBe(first.ino);
  expect((await b.lookup(rootIno, name)).ino).toBe(second.ino);
  const now = await b.open(second.ino, { read: true });
  expect([text(await old.read(0, 10)), text(await now.read(0, 10))]).toEqual(["first", "second!"]);
  expect((await b.attributes(first.ino)).nlink).toBe(0);
  await Promise.all([old.close(), now.close()]);
});

test("what cannot be put whole changes nothing", async () => {
  const [name, directory] = [fresh(), fresh()];
  const { ino } = await a.makeDirectory(rootIno, directory, 0o755);
  const small = bytesOf("x");
  const other = a.as({ uid: 7, gid: 7 });
  expect(await codeOf(a.put(rootIno, directory, small, { mode: 0o644 }))).toBe("EISDIR");
  expect(await codeOf(a.put(rootIno, "..", small, { mode: 0o644 }))).toBe("EISDIR");
  expect(await codeOf(other.put(ino, name, small, { mode: 0o644 }))).toBe("EACCES");
  await a.setAttributes(ino, { mode: 0o777 });
  expect(await codeOf(other.put(ino, name, small, { mode: 0o644, uid: 0 }))).toBe("EPERM");
  expect(await codeOf(other.put(ino, name, small, { mode: 0o644, gid: 0 }))).toBe("EPERM");
  expect(await codeOf(a.put(ino, name, new Uint8Array(writeBytesMax + 1), { mode: 0o644 }))).toBe("EFBIG");
  expect(await a.entries(ino, 0, 10)).toEqual([]);
  expect((await other.put(ino, name, small, { mode: 0o4755, gid: 7 }))!.mode).toBe(kinds.file | 0o4755);
});

test("a file that is opened to read may be emptied by that, as on Linux, and not afterwards", async () => {
  const name = fresh();
  const { file, attributes } = await a.create(rootIno, name, 0o644, { write: true });
  await file.write(0, bytesOf("gone"));
  const opened = await b.open(attributes.ino, { read: true, truncate: true });
  expect(await opened.attributes()).toMatchObject({ size: 0 });
  expect(await codeOf(opened.truncate(0))).toBe("EINVAL");
  await file.write(0, bytesOf("gone"));
  const made = await b.create(rootIno, name, 0o644, { read: true, truncate: true });
  expect(made).toMatchObject({ created: false, attributes: { size: 0 } });
  await Promise.all([opened.close(), made.file.close(), file.close()]);
});
