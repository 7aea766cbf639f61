import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CoordinatorLink } from "../../../core/agent/coordinator-link.ts";
import { dataDirOf } from "../../../core/agent/data-dir.ts";
import { type ImageTiming, openImages } from "../../../core/agent/images.ts";
import type { NodeImages } from "../../../core/agent/node-images.ts";
import { DvsError } from "../../../core/errors.ts";
import { blobPath } from "../../../core/image/blob-file.ts";
import { BlobStore } from "../../../core/image/blob-store.ts";
import { buildImage, type BuiltImage } from "../../../core/image/builder.ts";
import { pushImage } from "../../../core/image/transfer.ts";
import { type StoreRemote, storeRemote } from "../image/store-remote.ts";

let base: string;
let image: BuiltImage;
let remote: StoreRemote;
let opened: NodeImages[];
const { signal } = new AbortController();

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), "dvs-"));
  const site = join(base, "site");
  mkdirSync(site);
  for (let i = 0; i < 20; i++) writeFileSync(join(site, `${i}.txt`), `file ${i}`);
  image = await buildImage(site);
  remote = storeRemote(await BlobStore.open(join(base, "coordinator")));
  await pushImage(image, remote);
  opened = [];
});
afterEach(() => {
  for (const images of opened) images.close();
  rmSync(base, { recursive: true, force: true });
});

const data = () => dataDirOf(join(base, "node"));
const blob = () => image.entries.find((e) => e.path === "/7.txt")?.digest ?? "";
const never: ImageTiming = { sweepMs: 1e9, graceMs: 1e9, scrubMs: 1e9 };

async function open(timing: Partial<ImageTiming> = {}): Promise<NodeImages> {
  const coordinator = { images: remote } as unknown as CoordinatorLink;
  const images = await openImages(data(), coordinator, () => {}, { ...never, ...timing });
  opened.push(images);
  return images;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_000 && !(await holds()); i++) {
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
  expect(await holds()).toBe(true);
}

const isWhole = async () => {
  const store = await BlobStore.open(data().blobs);
  for (const { type, digest } of image.entries) {
    if (type === "file" && (await store.verify(digest)) !== "good") return false;
  }
  return true;
};

test("an image is pulled once, says how far it is, and is not looked through again", async () => {
  const images = await open();
  const told: string[] = [];
  await Promise.all([
    images.ensure(image.digest, (reason) => told.push(reason), signal),
    images.ensure(image.digest, () => {}, signal),
  ]);
  expect(await isWhole()).toBe(true);
  expect(told[0]).toMatch(/^pulling: \d+ of 20 files$/);
  expect(remote.fetched.flat()).toHaveLength(20);
  await images.ensure(image.digest, () => {}, signal);
  await (await open()).ensure(image.digest, () => {}, signal);
  expect(remote.fetched.flat()).toHaveLength(20);
});

test("a blob that a container found corrupted is fetched anew", async () => {
  const images = await open();
  await images.ensure(image.digest, () => {}, signal);
  writeFileSync(blobPath(data().blobs, blob()), "rot");
  await images.refetch(image.digest, blob(), signal);
  expect(await isWhole()).toBe(true);
});

test("what rots on the disk is found and fetched anew before anybody asks for it", async () => {
  const images = await open({ scrubMs: 20 });
  await images.ensure(image.digest, () => {}, signal);
  images.setWanted(new Set([image.digest]));
  writeFileSync(blobPath(data().blobs, blob()), "rot");
  const before = remote.fetched.length;
  await until(() => remote.fetched.length > before);
  await until(isWhole);
});

test("an image that nothing uses is removed, and pulled again when it is wanted again", async () => {
  const images = await open({ sweepMs: 20, graceMs: 300 });
  await images.ensure(image.digest, () => {}, signal);
  // Nothing is removed before it is known what is wanted.
  await new Promise((resolve) => {
    setTimeout(resolve, 60);
  });
  expect(await isWhole()).toBe(true);
  images.setWanted(new Set());
  await until(async () => !(await BlobStore.open(data().blobs)).has(blob()));
  images.setWanted(new Set([image.digest]));
  await images.ensure(image.digest, () => {}, signal);
  expect(await isWhole()).toBe(true);
});

test("a full disk is a warning of the node until something works again", async () => {
  const images = await open();
  const fetch = remote.fetch.bind(remote);
  remote.fetch = () => Promise.reject(new DvsError("EXHAUSTED", "disk full: 0 bytes free"));
  const refusal = await images.ensure(image.digest, () => {}, signal).catch((e: unknown) => e);
  expect(DvsError.from(refusal).code).toBe("EXHAUSTED");
  expect(images.warnings()[0]).toEndWith("disk full: 0 bytes free");
  remote.fetch = fetch;
  await images.ensure(image.digest, () => {}, signal);
  expect(images.warnings()).toEqual([]);
});
