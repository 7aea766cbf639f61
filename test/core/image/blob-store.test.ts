import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blobPath } from "../../../core/image/blob-file.ts";
import { BlobStore } from "../../../core/image/blob-store.ts";
import { digestOf } from "../../../core/image/digest.ts";
import { freeBytes } from "../../../core/image/disk.ts";
import { sweepImages } from "../../../core/image/garbage.ts";
import { encodeManifest } from "../../../core/image/manifest.ts";
import { scrub } from "../../../core/image/scrub.ts";
import { sweep } from "../../../core/image/sweep.ts";
import { rejectionOf } from "./rejection.ts";

let base: string;
let stores = 0;
beforeAll(() => void (base = mkdtempSync(join(tmpdir(), "dvs-"))));
afterAll(() => rmSync(base, { recursive: true, force: true }));
const newDir = (): string => join(base, String(stores++));

const text = (t: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(t);
const tempFiles = (dir: string): string[] => readdirSync(join(dir, "tmp"));
const putAll = async (store: BlobStore, ...texts: string[]): Promise<string[]> => {
  for (const t of texts) await store.put([text(t)], digestOf(text(t)));
  await store.flush();
  return texts.map((t) => digestOf(text(t)));
};
/** As if it had come `ms` ago by the wall clock. */
const age = (store: BlobStore, digest: string, ms: number): void => {
  const then = new Date(Date.now() - ms);
  utimesSync(blobPath(store.dir, digest), then, then);
};
const hour = 3_600_000;

test("a blob can be read as soon as it is put, and has its name only after the group's fsync", async () => {
  const store = await BlobStore.open(newDir());
  const digest = digestOf(text("one"));
  await store.put([text("o"), text("ne")], digest, { size: 3 });
  expect(await store.read(digest)).toEqual(text("one"));
  expect(store.size(digest)).toBe(3);
  expect(await new Response(store.openStream(digest, 1, 3)).text()).toBe("ne");
  expect(statSync(blobPath(store.dir, digest), { throwIfNoEntry: false })).toBeUndefined();
  await store.flush();
  expect(statSync(blobPath(store.dir, digest)).size).toBe(3);
  expect(tempFiles(store.dir)).toEqual([]);
  expect((await BlobStore.open(store.dir)).has(digest)).toBe(true);
});

test("wrong content, a wrong size and too much are refused, and nothing is left of them", async () => {
  const store = await BlobStore.open(newDir());
  const digest = digestOf(text("right"));
  expect(await rejectionOf(store.put([text("wrong")], digest))).toMatchObject({ code: "INVALID" });
  expect(await rejectionOf(store.put([text("right")], digest, { size: 6 }))).toMatchObject({
    code: "INVALID",
  });
  expect(await rejectionOf(store.put([text("right")], digest, { bytesMax: 4 }))).toMatchObject({
    code: "TOO_LARGE",
  });
  const breaks = async function* (): AsyncGenerator<Uint8Array> {
    yield text("ri");
    throw new Error("the sender died");
  };
  expect(String(await rejectionOf(store.put(breaks(), digest)))).toContain("the sender died");
  expect(store.has(digest)).toBe(false);
  expect(tempFiles(store.dir)).toEqual([]);
});

test("many puts of one blob at once leave one good file", async () => {
  const store = await BlobStore.open(newDir());
  const bytes = new Uint8Array(400_000).fill(3);
  const digest = digestOf(bytes);
  await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      await store.put([bytes], digest);
      if (i % 2) await store.flush();
    }),
  );
  await store.flush();
  expect(await store.verify(digest)).toBe("good");
  expect(tempFiles(store.dir)).toEqual([]);
});

test("a group that grows too large is flushed by itself", async () => {
  const store = await BlobStore.open(newDir(), 10);
  const blobs = Array.from({ length: 25 }, (_, i) => text(`blob ${i}`));
  for (const bytes of blobs) await store.put([bytes], digestOf(bytes));
  expect(tempFiles(store.dir)).toHaveLength(5);
  expect(await (await BlobStore.open(store.dir)).missing(blobs.map(digestOf))).toHaveLength(5);
  await store.flush();
  expect(await (await BlobStore.open(store.dir)).missing(blobs.map(digestOf))).toEqual([]);
});

test("a host process killed in the middle of a put leaves nothing once the store is opened again", async () => {
  const dir = newDir();
  const script = join(base, "put.ts");
  writeFileSync(
    script,
    `import { BlobStore } from ${JSON.stringify(new URL("../../../core/image/blob-store.ts", import.meta.url).pathname)};
     const store = await BlobStore.open(${JSON.stringify(dir)});
     await store.put([new Uint8Array([1])], "${digestOf(new Uint8Array([1]))}");
     const slow = async function* () {
       yield new Uint8Array(100_000);
       console.log("written");
       await new Promise((resolve) => setTimeout(resolve, 60_000));
     };
     await store.put(slow(), "${digestOf(text("slow"))}");`,
  );
  const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  // Alive, its files are left alone.
  const other = await BlobStore.open(dir);
  expect(tempFiles(dir)).toHaveLength(2);
  await other.put([text("mine")], digestOf(text("mine")));
  child.kill("SIGKILL");
  await once(child, "exit");
  const store = await BlobStore.open(dir);
  expect(tempFiles(dir)).toHaveLength(1);
  await other.flush();
  expect(store.has(digestOf(text("mine")))).toBe(true);
  expect(store.has(digestOf(text("slow")))).toBe(false);
});

const tmpfs = mountTmpfs();
afterAll(() => {
  if (tmpfs) spawnSync("umount", [tmpfs]);
});

test.skipIf(!tmpfs)(
  `a full disk is EXHAUSTED with the bytes needed and free, and nothing half is left${tmpfs ? "" : " (needs root, to mount a small tmpfs)"}`,
  async () => {
    const store = await BlobStore.open(join(tmpfs as string, "blobs"));
    await putAll(store, "small");
    const bytes = new Uint8Array(3 * 1024 * 1024);
    const digest = digestOf(bytes);
    // With its size told it is refused before the first byte, without it when the disk is full.
    for (const options of [{ size: bytes.length }, {}]) {
      const error = await store.put([bytes], digest, options).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: "EXHAUSTED" });
      expect((error as Error).message).toMatch(/\d+ bytes are needed, [1-9]\d* are free/);
      expect(tempFiles(store.dir)).toEqual([]);
      expect(store.has(digest)).toBe(false);
    }
    expect(await store.read(digestOf(text("small")))).toEqual(text("small"));
    const fits = bytes.subarray(0, 100_000);
    await store.put([fits], digestOf(fits));
    await store.flush();
  },
);

function mountTmpfs(): string | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  return spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "none", dir]).status === 0 ? dir : undefined;
}

test("a store whose directory was removed under it takes blobs again", async () => {
  const store = await BlobStore.open(newDir());
  const [before] = await putAll(store, "before");
  rmSync(store.dir, { recursive: true });
  expect(await store.missing([before!])).toEqual([before!]);
  const [after] = await putAll(store, "before");
  expect(await store.read(after!)).toEqual(text("before"));
  rmSync(store.dir, { recursive: true });
  expect(await freeBytes(store.dir)).toBeGreaterThan(0);
});

test("scrub finds a turned bit, removes the blob, and goes on", async () => {
  const store = await BlobStore.open(newDir());
  const digests = await putAll(store, "a", "b", "c");
  writeFileSync(blobPath(store.dir, digests[1] as string), text("x"));
  const states = new Map<string, string>();
  for await (const { digest, state } of scrub(store, { bytesPerSecond: Infinity })) states.set(digest, state);
  expect(digests.map((digest) => states.get(digest))).toEqual(["good", "corrupt", "good"]);
  expect(await store.missing(digests)).toEqual([digests[1] as string]);
});

test("a corrupted blob is never read", async () => {
  const store = await BlobStore.open(newDir());
  const [digest = ""] = await putAll(store, "content");
  writeFileSync(blobPath(store.dir, digest), text("c0ntent"));
  expect(await rejectionOf(store.read(digest))).toMatchObject({ code: "FAILED" });
  expect(await rejectionOf(store.read(digestOf(text("never put"))))).toMatchObject({ code: "NOT_FOUND" });
});

test("sweep removes only what nothing names and what is old by both clocks", async () => {
  const dir = newDir();
  await putAll(await BlobStore.open(dir), "kept", "old", "young", "asked", "future");
  // Another process: it has not put any of them.
  const store = await BlobStore.open(dir);
  const [kept = "", old = "", young = "", asked = "", future = ""] = [
    "kept",
    "old",
    "young",
    "asked",
    "future",
  ].map((t) => digestOf(text(t)));
  for (const digest of [kept, old, asked]) age(store, digest, 2 * hour);
  age(store, future, -hour); // The clock was set back since it came.
  await store.missing([asked]);
  age(store, asked, 2 * hour); // Uptime alone keeps it.
  expect(await sweep(store, new Set([kept]))).toEqual({ blobs: 1, bytes: 3 });
  expect(await store.missing([kept, old, young, asked, future])).toEqual([old]);
  expect(tempFiles(dir)).toEqual([]);
});

test("asking for a blob keeps it from the sweep of the process that comes next", async () => {
  const store = await BlobStore.open(newDir());
  const [digest = ""] = await putAll(store, "asked");
  age(store, digest, 2 * hour);
  await store.missing([digest]);
  while (Date.now() - statSync(blobPath(store.dir, digest)).mtimeMs > hour) await Bun.sleep(5);
  const next = await BlobStore.open(store.dir);
  expect(await sweep(next, new Set())).toEqual({ blobs: 0, bytes: 0 });
});

test("puts and sweeps at once: a blob that was reported stored is there", async () => {
  const store = await BlobStore.open(newDir());
  const blobs = Array.from({ length: 100 }, (_, i) => text(`blob ${i}`));
  await putAll(store, ...blobs.map((b) => new TextDecoder().decode(b)));
  for (const bytes of blobs) age(store, digestOf(bytes), 2 * hour);
  const fresh = await BlobStore.open(store.dir);
  const sweeping = sweep(fresh, new Set());
  for (const bytes of blobs) await fresh.put([bytes], digestOf(bytes));
  await Promise.all([sweeping, fresh.flush()]);
  for (const bytes of blobs) expect(await fresh.read(digestOf(bytes))).toEqual(bytes);
});

test("sweepImages keeps what an image names, and removes nothing while a manifest cannot be read", async () => {
  const store = await BlobStore.open(newDir());
  const manifest = await encodeManifest([
    { path: "/", type: "directory", size: 0, digest: "", mode: 0o755, target: "" },
    { path: "/f", type: "file", size: 4, digest: digestOf(text("file")), mode: 0o644, target: "" },
  ]);
  const image = digestOf(manifest);
  await store.put([manifest], image);
  const [file = "", garbage = ""] = await putAll(store, "file", "garbage");
  writeFileSync(blobPath(store.dir, image), text("broken"));
  expect(await rejectionOf(sweepImages(store, [image], 0))).toMatchObject({ code: "FAILED" });
  expect(await store.missing([file, garbage])).toEqual([]);
  writeFileSync(blobPath(store.dir, image), manifest);
  expect((await sweepImages(store, [image], 0)).blobs).toBe(1);
  expect(await store.missing([image, file, garbage])).toEqual([garbage]);
});

test("files that are no blobs are left alone", async () => {
  const dir = newDir();
  mkdirSync(join(dir, "ab"), { recursive: true });
  writeFileSync(join(dir, "ab", "README"), "hello");
  writeFileSync(join(dir, "lost+found"), "");
  const store = await BlobStore.open(dir);
  expect(await sweep(store, new Set(), { graceMs: 0 })).toEqual({ blobs: 0, bytes: 0 });
  expect(readdirSync(join(dir, "ab"))).toEqual(["README"]);
});
