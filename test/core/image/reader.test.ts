import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blobPath } from "../../../core/image/blob-file.ts";
import { BlobStore } from "../../../core/image/blob-store.ts";
import { digestOf } from "../../../core/image/digest.ts";
import { encodeManifest } from "../../../core/image/manifest.ts";
import { openImage } from "../../../core/image/reader.ts";
import type { ImageEntry, ImageReader } from "../../../core/vos.ts";
import { rejectionOf } from "./rejection.ts";

let dir: string;
let store: BlobStore;
let digest: string;
const hello = new TextEncoder().encode("hello, world");
const helloDigest = digestOf(hello);
const large = new Uint8Array(300_000).map((_, i) => i % 251);
const largeDigest = digestOf(large);

const file = (path: string, bytes: Uint8Array): ImageEntry => ({
  path,
  type: "file",
  size: bytes.length,
  digest: digestOf(bytes),
  mode: 0o644,
  target: "",
});
const directory = (path: string): ImageEntry => ({
  path,
  type: "directory",
  size: 0,
  digest: "",
  mode: 0o755,
  target: "",
});
const link = (path: string, target: string): ImageEntry => ({
  path,
  type: "symlink",
  size: 0,
  digest: "",
  mode: 0o777,
  target,
});

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "dvs-"));
  store = await BlobStore.open(dir);
  const manifest = await encodeManifest([
    directory("/"),
    file("/hello.txt", hello),
    directory("/a"),
    directory("/a/b"),
    file("/a/b/large.bin", large),
    link("/latest", "a/b"),
    link("/a/up", "../hello.txt"),
    link("/a/b/root", "/a"),
    link("/loop", "loop"),
    link("/nowhere", "nothing/here"),
  ]);
  digest = digestOf(manifest);
  for (const bytes of [manifest, hello, large]) await store.put([bytes], digestOf(bytes));
  await store.flush();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function reader(onBadBlob: (digest: string) => Promise<void> = refuse): Promise<ImageReader> {
  return openImage({ blobDir: dir, digest, onBadBlob });
}
const refuse = async (bad: string): Promise<void> => {
  throw new Error(`nobody has ${bad}`);
};
const entryOf = (image: ImageReader, path: string): ImageEntry => {
  const entry = image.entry(path);
  if (!entry) throw new Error(`no ${path}`);
  return entry;
};
const bytesOf = async (stream: ReadableStream<Uint8Array>): Promise<Uint8Array> =>
  new Uint8Array(await new Response(stream).arrayBuffer());
/** Turns one bit of a blob on the disk, through a new file as a repair would write it. */
const corrupt = (bad: string, bytes: Uint8Array): void => {
  const copy = bytes.slice();
  copy[7] = (copy[7] ?? 0) ^ 1;
  writeFileSync(blobPath(dir, bad), copy);
};

test("an image gives its entries, its paths in order, and the content of its files", async () => {
  const image = await reader();
  expect([...image.paths()].slice(0, 3)).toEqual(["/", "/a", "/a/b"]);
  expect(image.entry("/hello.txt")?.size).toBe(12);
  expect(image.entry("/a/../hello.txt")).toBeUndefined();
  expect(await image.read(entryOf(image, "/hello.txt"))).toEqual(hello);
});

test("symbolic links resolve inside the image, in any part of a path", async () => {
  const image = await reader();
  expect(image.resolve("/latest/large.bin")?.path).toBe("/a/b/large.bin");
  expect(image.resolve("/latest/root/up")?.path).toBe("/hello.txt");
  expect(image.resolve("/latest")?.path).toBe("/a/b");
  expect(image.resolve("/loop")).toBeUndefined();
  expect(image.resolve("/nowhere")).toBeUndefined();
  expect(image.resolve("/../hello.txt")).toBeUndefined();
  expect(image.resolve("/hello.txt/x")).toBeUndefined();
});

test("paths are exact: a second way to write one finds nothing", async () => {
  const image = await reader();
  for (const path of [
    "//hello.txt",
    "/a//b",
    "/a/",
    "/a/./b",
    "/a/../hello.txt",
    "hello.txt",
    "",
    "/latest/",
  ]) {
    expect({ path, entry: image.entry(path), resolved: image.resolve(path) }).toEqual({
      path,
      entry: undefined,
      resolved: undefined,
    });
  }
  expect(image.resolve("/")?.type).toBe("directory");
});

test("a stream gives exactly the bytes of its range", async () => {
  const image = await reader();
  const entry = entryOf(image, "/a/b/large.bin");
  expect(await bytesOf(image.stream(entry, 0, entry.size))).toEqual(large);
  expect(await bytesOf(image.stream(entry, 65_530, 131_080))).toEqual(large.slice(65_530, 131_080));
  expect(await bytesOf(image.stream(entry, 5, 5))).toEqual(new Uint8Array(0));
});

test("the file of a blob is given once it is verified, or repaired, or not at all", async () => {
  const good = await reader();
  const entry = entryOf(good, "/a/b/large.bin");
  expect(readFileSync((await good.file(entry))!)).toEqual(Buffer.from(large));

  corrupt(largeDigest, large);
  const refused = await reader();
  expect(await rejectionOf(refused.file(entry))).toMatchObject({ code: "UNAVAILABLE" });

  const repairing = await reader(async (bad) => writeFileSync(blobPath(dir, bad), large));
  expect(readFileSync((await repairing.file(entry))!)).toEqual(Buffer.from(large));
});

test("a flipped bit is found, the blob is fetched anew once, and the reader gets the right bytes", async () => {
  const image = await reader(async (bad) => {
    fetched.push(bad);
    writeFileSync(blobPath(dir, bad), bad === helloDigest ? hello : large);
  });
  const fetched: string[] = [];
  corrupt(helloDigest, hello);
  const entry = entryOf(image, "/hello.txt");
  expect(await Promise.all([image.read(entry), image.read(entry)])).toEqual([hello, hello]);
  rmSync(blobPath(dir, largeDigest));
  const big = entryOf(image, "/a/b/large.bin");
  expect(await bytesOf(image.stream(big, 10, 20))).toEqual(large.slice(10, 20));
  expect(fetched).toEqual([helloDigest, largeDigest]);
});

test("a blob that nobody has is UNAVAILABLE, and no byte of a corrupted one leaves", async () => {
  const image = await reader();
  corrupt(largeDigest, large);
  const entry = entryOf(image, "/a/b/large.bin");
  expect(await rejectionOf(image.read(entry))).toMatchObject({ code: "UNAVAILABLE" });
  const stream = image.stream(entry, 100, 200).getReader();
  expect(await rejectionOf(stream.read())).toMatchObject({ code: "UNAVAILABLE" });
  writeFileSync(blobPath(dir, largeDigest), large);
  expect(await image.read(entry)).toEqual(large);
});

test("a corrupted manifest is fetched anew before the image opens", async () => {
  const good = await store.read(digest);
  corrupt(digest, good);
  expect(await rejectionOf(reader())).toMatchObject({ code: "UNAVAILABLE" });
  const image = await reader(async (bad) => writeFileSync(blobPath(dir, bad), good));
  expect(image.entry("/hello.txt")?.digest).toBe(helloDigest);
});
