import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ImageCare } from "../../../core/coordinator/image-care.ts";
import { BlobStore } from "../../../core/image/blob-store.ts";
import { buildImage } from "../../../core/image/builder.ts";
import { pushImage } from "../../../core/image/transfer.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import type { ImageRecord } from "../../../core/records.ts";
import { keys } from "../../../core/records.ts";
import type { Store } from "../../../core/store/store.ts";
import { codeOf, failure, Lab } from "./lab.ts";

setDefaultTimeout(30_000);

let dir: string;
const closing: (() => void | Promise<void>)[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "dvs-images-"));
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  rmSync(dir, { recursive: true, force: true });
});

let sites = 0;
function site(files: Record<string, string>): string {
  const root = join(dir, `site-${++sites}`);
  mkdirSync(root);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  return root;
}

async function lab(): Promise<Lab> {
  const started = await Lab.start();
  closing.push(() => started.close());
  return started;
}

async function push(to: Lab, files: Record<string, string>, names: string[] = []): Promise<ImageRecord> {
  const built = await buildImage(site(files));
  await pushImage(built, to.api.images.remote());
  return to.api.images.commit({ digest: built.digest, names });
}

const web = (name: string, image: string) => ({ name, spec: { os: "web", nodes: 1, image } });

test("an image is found by digest, by its beginning and by name; a name moves to who took it last", async () => {
  const l = await lab();
  const one = await push(l, { "index.html": "1" }, ["site", "old"]);
  const hex = one.digest.slice(7);
  for (const ref of [one.digest, hex.slice(0, 6), hex, "site", "old"]) {
    expect((await l.api.images.get(ref)).digest).toBe(one.digest);
  }
  const two = await push(l, { "index.html": "2" }, ["site"]);
  expect((await l.api.images.get("site")).digest).toBe(two.digest);
  expect((await l.api.images.get("old")).names).toEqual(["old"]);
  expect(await codeOf(l.api.images.get(hex.slice(0, 5)))).toBe("NOT_FOUND");
  expect(await codeOf(l.api.images.commit({ digest: one.digest, names: ["sha256:abc"] }))).toBe("INVALID");
  // The same image again: the same record, with one more name.
  const again = await push(l, { "index.html": "1" }, ["newer"]);
  expect(again).toMatchObject({ digest: one.digest, createdAt: one.createdAt, names: ["old", "newer"] });
});

test("a name that could be the beginning of a digest is a name first", async () => {
  const l = await lab();
  const one = await push(l, { "index.html": "1" });
  const two = await push(l, { "index.html": "2" }, [one.digest.slice(7, 15)]);
  expect((await l.api.images.get(one.digest.slice(7, 15))).digest).toBe(two.digest);
});

test("an image of which something lacks is refused, and names the first blob", async () => {
  const l = await lab();
  const built = await buildImage(site({ "a.txt": "a", "b.txt": "b" }));
  const remote = l.api.images.remote();
  expect(await codeOf(l.api.images.commit({ digest: built.digest, names: [] }))).toBe("NOT_FOUND");
  // Only the manifest comes.
  const { digest } = built;
  await pushImage(
    {
      digest,
      entries: [],
      size: (d) => built.size(d),
      read: (d) => built.read(d),
      openStream: (d) => built.openStream(d),
    },
    remote,
  );
  const e = await failure(l.api.images.commit({ digest: built.digest, names: [] }));
  expect([e.code, e.message]).toEqual(["FAILED", expect.stringContaining("2 of its 2 blobs are not here")]);
});

test("what is no pack, is cut off, or is not what it says is refused, and nothing of it is kept", async () => {
  const l = await lab();
  const remote = l.api.images.remote();
  const upload = (bytes: Uint8Array) => remote.upload(new Response(bytes as Uint8Array<ArrayBuffer>).body!);
  expect(await codeOf(upload(new TextEncoder().encode("no pack at all")))).toBe("INVALID");
  expect(await codeOf(upload(new TextEncoder().encode("dvspack1")))).toBe("UNAVAILABLE");
  const blobs = join(l.dir, "data", "blobs");
  expect(readdirSync(blobs).filter((name) => name !== "tmp")).toEqual([]);
});

test("an image that an instance uses stays; of a removal and creations at once no instance is left without its image", async () => {
  const l = await lab();
  for (let round = 0; round < 5; round++) {
    const { digest } = await push(l, { "index.html": `${round}` });
    const [removed, ...created] = await Promise.allSettled([
      l.api.images.remove(digest),
      ...[0, 1, 2].map((i) => l.api.instances.create(web(`w-${round}-${i}`, digest))),
    ]);
    const left = (await l.api.images.list()).find((i) => i.digest === digest);
    if (removed.status === "fulfilled") {
      expect(left).toBeUndefined();
      // Those that came after it say what lacks.
      for (const c of created) expect(c).toMatchObject({ status: "rejected", reason: { code: "NOT_FOUND" } });
    } else {
      expect(removed).toMatchObject({ reason: { code: "CONFLICT" } });
      expect(left?.usedBy).toHaveLength(created.filter((c) => c.status === "fulfilled").length);
    }
  }
});

test("instances made at once from one image do not refuse each other", async () => {
  const l = await lab();
  const { digest } = await push(l, { "index.html": "x" });
  const names = Array.from({ length: 8 }, (_, i) => `w${i}`);
  await Promise.all(names.map((name) => l.api.instances.create(web(name, digest))));
  expect((await l.api.images.get(digest)).usedBy.sort()).toEqual(names);
});

interface Care {
  store: Store;
  blobs: BlobStore;
  log: string[];
  care(graceMs: number): ImageCare;
  image(files: Record<string, string>, names: string[]): Promise<{ digest: string; blobs: string[] }>;
  record(digest: string): Promise<unknown>;
}

async function careLab(): Promise<Care> {
  const store = openMemoryStore();
  const blobs = await BlobStore.open(join(dir, "blobs"));
  const log: string[] = [];
  return {
    store,
    blobs,
    log,
    care: (graceMs) =>
      new ImageCare({
        store,
        blobs,
        log: (_, m) => log.push(m),
        graceMs,
        bytesPerSecond: Number.POSITIVE_INFINITY,
      }),
    async image(files, names) {
      const built = await buildImage(site(files));
      const digests = built.entries.filter((e) => e.type === "file").map((e) => e.digest);
      for (const digest of [...digests, built.digest]) await blobs.put([await built.read(digest)], digest);
      await blobs.flush();
      const record: ImageRecord = {
        digest: built.digest,
        names,
        files: 1,
        bytes: 1,
        createdAt: "2026-01-01T00:00:00Z",
      };
      const key = keys.image("default", built.digest);
      await store.txn({ if: [], then: [{ type: "put", key, value: JSON.stringify(record) }] });
      return { digest: built.digest, blobs: digests };
    },
    record: (digest) => store.get(keys.image("default", digest)),
  };
}

const instance = (name: string, image: string) =>
  JSON.stringify({
    tenant: "default",
    name,
    uid: name,
    spec: { os: "web", nodes: 1, image },
    generation: 1,
    desired: "stopped",
    phase: "established",
    placement: [],
    createdAt: "",
  });

test("an image without a name that nothing uses goes with its blobs; named, used and young ones stay", async () => {
  const l = await careLab();
  const named = await l.image({ a: "named", common: "common" }, ["n"]);
  const used = await l.image({ a: "used" }, []);
  const unused = await l.image({ a: "unused", common: "common" }, []);
  await l.store.txn({
    if: [],
    then: [{ type: "put", key: keys.instance("default", "i"), value: instance("i", used.digest) }],
  });
  const patient = l.care(60_000);
  await patient.sweep();
  await patient.sweep();
  expect(await l.record(unused.digest)).not.toBeNull();
  const hasty = l.care(0);
  await hasty.sweep();
  expect(await l.record(unused.digest)).toBeNull();
  await l.care(0).sweep();
  for (const { digest, blobs } of [named, used]) {
    expect(await l.record(digest)).not.toBeNull();
    expect([digest, ...blobs].every((d) => l.blobs.has(d))).toBe(true);
  }
  expect(l.blobs.has(unused.digest)).toBe(false);
});

test("a blob of an image in creation stays: it was asked for within the grace", async () => {
  const l = await careLab();
  const { digest, blobs } = await l.image({ a: "x" }, ["n"]);
  await l.store.txn({ if: [], then: [{ type: "delete", key: keys.image("default", digest) }] });
  await l.care(60_000).sweep();
  expect(l.blobs.has(blobs[0]!)).toBe(true);
  await l.care(0).sweep();
  expect(l.blobs.has(blobs[0]!)).toBe(false);
});

test("nothing is swept while a manifest cannot be read: what it names is not known", async () => {
  const l = await careLab();
  const broken = await l.image({ a: "x" }, ["n"]);
  const other = await l.image({ b: "y" }, []);
  await l.blobs.delete(broken.digest);
  await l
    .care(0)
    .sweep()
    .catch(() => undefined);
  expect(l.blobs.has(other.blobs[0]!)).toBe(true);
  expect(l.blobs.has(broken.blobs[0]!)).toBe(true);
});

test("a blob that the disk has changed is found, removed, and its image is told; pushed again, all is well", async () => {
  const l = await careLab();
  const { digest, blobs } = await l.image({ a: "content" }, ["docs"]);
  const care = l.care(60_000);
  await care.scrub();
  expect(care.warnings()).toEqual([]);
  const hex = blobs[0]!.slice(7);
  writeFileSync(join(dir, "blobs", hex.slice(0, 2), hex.slice(2)), "c0ntent");
  await care.scrub();
  expect(l.blobs.has(blobs[0]!)).toBe(false);
  expect(l.log.some((line) => line.includes("was corrupted on the disk"))).toBe(true);
  expect(care.warnings()).toEqual([expect.stringContaining("image docs lacks 1 of 1 blobs")]);
  await l.image({ a: "content" }, ["docs"]);
  await care.check();
  expect(care.warnings()).toEqual([]);
  await l.blobs.delete(digest);
  await care.check();
  expect(care.warnings()).toEqual([expect.stringContaining("lacks its manifest")]);
});
