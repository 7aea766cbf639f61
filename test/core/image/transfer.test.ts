import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blobPath } from "../../../core/image/blob-file.ts";
import { BlobStore } from "../../../core/image/blob-store.ts";
import { buildImage, type BuiltImage } from "../../../core/image/builder.ts";
import { openImage } from "../../../core/image/reader.ts";
import type { TransferProgress } from "../../../core/image/remote.ts";
import {
  handleMissing,
  handleUpload,
  manifestOf,
  pullImage,
  pushImage,
  repairBlob,
  verifyImage,
} from "../../../core/image/transfer.ts";
import { digestsPerRequestMax } from "../../../core/limits.ts";
import { breakAfter, flipAt, storeRemote } from "./store-remote.ts";
import { rejectionOf } from "./rejection.ts";

let base: string;
let site: string;
let image: BuiltImage;
/** A coordinator's store that has the image, for tests that only pull. */
let full: BlobStore;
let stores = 0;
const files = 60;

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), "dvs-"));
  site = join(base, "site");
  mkdirSync(join(site, "sub"), { recursive: true });
  for (let i = 0; i < files - 1; i++) {
    writeFileSync(join(site, i % 2 ? "sub" : "", `${i}.txt`), `file ${i} `.repeat(i + 1));
  }
  writeFileSync(join(site, "copy-of-0.txt"), "file 0 ");
  writeFileSync(
    join(site, "large.bin"),
    new Uint8Array(700_000).map((_, i) => (i * 7) % 251),
  );
  image = await buildImage(site);
  full = await newStore();
  await pushImage(image, storeRemote(full));
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

const newStore = (): Promise<BlobStore> => BlobStore.open(join(base, `store-${stores++}`));
const largeDigest = (): string => image.entries.find((e) => e.path === "/large.bin")?.digest ?? "";
const tempFiles = (store: BlobStore): string[] => readdirSync(join(store.dir, "tmp"));

async function expectWhole(store: BlobStore): Promise<void> {
  const reader = await openImage({
    blobDir: store.dir,
    digest: image.digest,
    onBadBlob: async (digest) => {
      throw new Error(`${digest} is bad`);
    },
  });
  for (const path of reader.paths()) {
    const entry = reader.entry(path);
    if (entry?.type === "file") expect((await reader.read(entry)).length).toBe(entry.size);
  }
  expect(tempFiles(store)).toEqual([]);
}

test("a push sends each content once; pushed again it sends nothing, and after a change only that", async () => {
  const store = await newStore();
  const remote = storeRemote(store);
  expect(await pushImage(image, remote)).toMatchObject({ blobs: files });
  expect((await verifyImage(store, image.digest)).files).toBe(files + 1);
  await expectWhole(store);
  expect(await pushImage(image, remote)).toEqual({ blobs: 0, bytes: 0 });
  const changed = join(base, "changed");
  cpSync(site, changed, { recursive: true });
  writeFileSync(join(changed, "4.txt"), "changed");
  expect(await pushImage(await buildImage(changed), remote)).toEqual({ blobs: 1, bytes: 7 });
});

test("a push whose connection breaks goes on with what has not arrived", async () => {
  const store = await newStore();
  const remote = storeRemote(store);
  remote.damage = (pack) => (remote.uploads === 1 ? breakAfter(pack, 300_000) : pack);
  await pushImage(image, remote);
  await verifyImage(store, image.digest);
  expect(remote.uploads).toBe(3); // Broken, the rest, the manifest.
});

test("a push that the other end refuses for good fails at once with its error", async () => {
  const remote = storeRemote(await newStore());
  remote.upload = async () => {
    remote.uploads++;
    const { DvsError } = await import("../../../core/errors.ts");
    throw new DvsError("FORBIDDEN", "your role is viewer");
  };
  expect(await rejectionOf(pushImage(image, remote))).toMatchObject({ code: "FORBIDDEN" });
  expect(remote.uploads).toBe(1);
});

test("three nodes pull at once, and each has the whole image, verified", async () => {
  const remote = storeRemote(full);
  const nodes = await Promise.all([newStore(), newStore(), newStore()]);
  const progress: TransferProgress[] = [];
  await Promise.all(
    nodes.map((node) => pullImage(image.digest, remote, node, { onProgress: (p) => progress.push(p) })),
  );
  for (const node of nodes) await expectWhole(node);
  const last = progress.at(-1);
  expect(last).toMatchObject({ blobs: files, blobsTotal: files, bytes: last?.bytesTotal ?? -1 });
});

test("a pull asks for nothing that is here", async () => {
  const remote = storeRemote(full);
  const node = await newStore();
  expect(await pullImage(image.digest, remote, node)).toMatchObject({ blobs: files });
  remote.fetched.length = 0;
  expect(await pullImage(image.digest, remote, node)).toMatchObject({ blobs: 0 });
  expect(remote.fetched).toEqual([]);
});

test("a pull whose streams break goes on where it was: no blob that arrived is fetched again", async () => {
  const remote = storeRemote(full);
  const node = await newStore();
  let arrived = 0;
  remote.damage = (pack) => breakAfter(pack, [100_000, 200_000][remote.fetched.length - 1] ?? Infinity);
  await pullImage(image.digest, remote, node, {
    concurrency: 1,
    onProgress: (p) => (arrived = Math.max(arrived, p.blobs)),
  });
  expect(arrived).toBe(files);
  await expectWhole(node);
  // Each later fetch asks for a part of what the one before asked for.
  expect(remote.fetched.length).toBeGreaterThan(2);
  for (const [i, asked] of remote.fetched.entries()) {
    const before = new Set(remote.fetched[i - 1] ?? asked);
    expect(asked.filter((digest) => !before.has(digest))).toEqual([]);
    if (i === 1) expect(asked.length).toBeLessThan(before.size);
  }
});

test("a bit that turns on the way is found, and that blob alone fetched again", async () => {
  const remote = storeRemote(full);
  const node = await newStore();
  remote.damage = (pack) => (remote.fetched.length === 1 ? flipAt(pack, 100_000) : pack);
  await pullImage(image.digest, remote, node, { concurrency: 1 });
  await expectWhole(node);
  expect(remote.fetched.slice(1)).toHaveLength(1);
  expect(remote.fetched[1]).toHaveLength(1);
});

test("a blob that nobody has in good state ends the pull with its name, and the rest is kept", async () => {
  const sender = await newStore();
  await pullImage(image.digest, storeRemote(full), sender);
  const bad = image.entries.find((e) => e.path === "/sub/7.txt")?.digest ?? "";
  writeFileSync(blobPath(sender.dir, bad), "rotten");
  const node = await newStore();
  const error = await pullImage(image.digest, storeRemote(sender), node).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: "UNAVAILABLE" });
  expect((error as Error).message).toContain(`Cannot fetch blob ${bad}, tried 5 times`);
  expect(node.has(image.digest)).toBe(false);
  expect(await node.missing((await verifyImage(full, image.digest)).blobs.keys())).toEqual([bad]);
});

test("a large blob that is rotten at the sender is found too", async () => {
  const sender = await newStore();
  await pullImage(image.digest, storeRemote(full), sender);
  writeFileSync(blobPath(sender.dir, largeDigest()), new Uint8Array(700_000));
  const error = await pullImage(image.digest, storeRemote(sender), await newStore()).catch((e: unknown) => e);
  expect((error as Error).message).toContain(`Cannot fetch blob ${largeDigest()}`);
});

test("an unknown image is NOT_FOUND, a manifest with another digest is not believed but asked for again", async () => {
  const node = await newStore();
  const unknown = `sha256:${"0".repeat(64)}`;
  expect(await rejectionOf(pullImage(unknown, storeRemote(full), node))).toMatchObject({ code: "NOT_FOUND" });
  const remote = storeRemote(full);
  let asked = 0;
  const manifest = (digest: string): Promise<Uint8Array> =>
    asked++ === 0 ? Promise.resolve(new TextEncoder().encode("lie")) : remote.manifest(digest);
  await pullImage(image.digest, { ...remote, manifest }, node);
  expect(asked).toBe(2);
  await expectWhole(node);
});

test("two who want one image at once share one pull, and one who turns away does not end it for the other", async () => {
  const remote = storeRemote(full);
  const node = await newStore();
  const leaving = new AbortController();
  const first = pullImage(image.digest, remote, node, {
    signal: leaving.signal,
    onProgress: () => leaving.abort(new Error("not needed any more")),
  });
  const second = pullImage(image.digest, remote, node);
  expect(String(await rejectionOf(first))).toContain("not needed any more");
  expect(await second).toMatchObject({ blobs: files });
  expect(new Set(remote.fetched.flat()).size).toBe(remote.fetched.flat().length);
});

test("a pull that everybody left ends, and the next one begins anew and completes", async () => {
  const remote = storeRemote(full);
  const node = await newStore();
  const leaving = new AbortController();
  const first = pullImage(image.digest, remote, node, { signal: leaving.signal });
  leaving.abort(new Error("stop"));
  const second = pullImage(image.digest, remote, node);
  expect(String(await rejectionOf(first))).toContain("stop");
  await second;
  await expectWhole(node);
});

test("a sender that falls silent is given up and asked again", async () => {
  const remote = storeRemote(full);
  remote.damage = (pack) => (remote.fetched.length === 1 ? new ReadableStream({}) : pack);
  const node = await newStore();
  await pullImage(image.digest, remote, node, { stallMs: 50, concurrency: 1 });
  await expectWhole(node);
});

test("a reader's bad blob is repaired from the remote: turned bits, a missing file, the manifest", async () => {
  const remote = storeRemote(full);
  const node = await newStore();
  await pullImage(image.digest, remote, node);
  const small = image.entries.find((e) => e.path === "/0.txt")?.digest ?? "";
  writeFileSync(blobPath(node.dir, small), "FILE 0 ");
  writeFileSync(blobPath(node.dir, image.digest), "no manifest");
  rmSync(blobPath(node.dir, largeDigest()));
  const repaired: string[] = [];
  const onBadBlob = async (digest: string): Promise<void> => {
    repaired.push(digest);
    await repairBlob(image.digest, digest, remote, node);
  };
  const reader = await openImage({ blobDir: node.dir, digest: image.digest, onBadBlob });
  for (const path of ["/0.txt", "/large.bin"]) {
    const entry = reader.entry(path);
    if (!entry) throw new Error(`no ${path}`);
    expect((await reader.read(entry)).length).toBe(entry.size);
  }
  expect(repaired).toEqual([image.digest, small, largeDigest()]);
});

test("nobody repairs a blob that is not of the image", async () => {
  const foreign = `sha256:${"1".repeat(64)}`;
  const node = await newStore();
  expect(await rejectionOf(repairBlob(image.digest, foreign, storeRemote(full), node))).toMatchObject({
    code: "INVALID",
  });
});

test("an image of which a blob lacks, or has another size, is not complete", async () => {
  const store = await newStore();
  await pullImage(image.digest, storeRemote(full), store);
  await verifyImage(store, image.digest);
  writeFileSync(blobPath(store.dir, largeDigest()), "cut");
  expect(await rejectionOf(verifyImage(store, image.digest))).toMatchObject({ code: "FAILED" });
  await store.delete(largeDigest());
  expect(String(await rejectionOf(verifyImage(store, image.digest)))).toContain(largeDigest());
});

test("what a coordinator is asked is checked: no paths for digests, not too many at once", async () => {
  expect(await rejectionOf(handleMissing(full, ["sha256:../../../etc/passwd"]))).toMatchObject({
    code: "INVALID",
  });
  expect(await rejectionOf(manifestOf(full, "../store.db"))).toMatchObject({ code: "INVALID" });
  const many = Array.from<string>({ length: digestsPerRequestMax + 1 }).fill(image.digest);
  expect(await rejectionOf(handleMissing(full, many))).toMatchObject({ code: "TOO_LARGE" });
  const upload = handleUpload(full, new Response("<html>").body as ReadableStream<Uint8Array>);
  expect(await rejectionOf(upload)).toMatchObject({ code: "UNAVAILABLE" });
});
