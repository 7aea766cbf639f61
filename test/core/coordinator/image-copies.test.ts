/** Images are on every coordinator, so that one that is lost takes none with it. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ImageCopies } from "../../../core/coordinator/image-copies.ts";
import type { Peer } from "../../../core/coordinator/peers.ts";
import { BlobStore } from "../../../core/image/blob-store.ts";
import { buildImage } from "../../../core/image/builder.ts";
import { parseManifest } from "../../../core/image/manifest.ts";
import { handleFetch, manifestOf, pushImage } from "../../../core/image/transfer.ts";
import { keys } from "../../../core/records.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import { etcdMissing, skipNote, startEtcd, type EtcdCluster } from "../store/etcd-fixture.ts";
import { FakeAgent } from "./fake-agent.ts";
import { Lab, until } from "./lab.ts";

setDefaultTimeout(60_000);

const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function directory(): string {
  const dir = mkdtempSync(join(tmpdir(), "dvs-copies-"));
  closing.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function site(text: string): string {
  const dir = directory();
  writeFileSync(join(dir, "index.html"), text);
  writeFileSync(join(dir, "big.bin"), text.repeat(100_000));
  return dir;
}

const member = (id: string) => ({ id, api: "127.0.0.1:1", agents: "127.0.0.1:2" });

test("a push is secure with one other copy, however many others are silent; with none it goes on and says so", async () => {
  const blobs = await BlobStore.open(directory());
  const log: string[] = [];
  const peer = (takeImage: Peer["takeImage"]): Peer => ({
    takeImage,
    health: () => Promise.reject(new Error("not asked")),
    images: { manifest: () => Promise.reject(new Error("no")), fetch: () => Promise.reject(new Error("no")) },
  });
  const answers: Record<string, Peer> = {
    silent: peer(
      (_, signal) =>
        new Promise((_r, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    ),
    broken: peer(() => Promise.reject(new Error("its disk is full"))),
    good: peer(() => Promise.resolve()),
  };
  const copies = (ids: string[]) =>
    new ImageCopies({
      store: openMemoryStore(),
      blobs,
      peers: {
        members: ids.map(member),
        refresh: () => Promise.resolve(),
        to: (m) => answers[m.id]!,
      },
      log: (level, message) => log.push(`${level} ${message}`),
    });
  const { signal } = new AbortController();
  const digest = `sha256:${"a".repeat(64)}`;
  expect(await copies([]).secure(digest, signal)).toBe(true);
  expect(await copies(["silent", "broken", "good"]).secure(digest, signal)).toBe(true);
  expect(log).toEqual([]);
  expect(await copies(["silent", "broken"]).secure(digest, signal, 50)).toBe(false);
  expect(log[0]).toContain("is on this coordinator alone for now");
});

test("what the disk lost comes back from another coordinator", async () => {
  const here = await BlobStore.open(directory());
  const there = await BlobStore.open(directory());
  const built = await buildImage(site("hello"));
  const remote = {
    missing: (digests: string[]) => there.missing(digests),
    upload: async (pack: ReadableStream<Uint8Array>) => {
      const { handleUpload } = await import("../../../core/image/transfer.ts");
      await handleUpload(there, pack);
    },
  };
  await pushImage(built, remote);
  const store = openMemoryStore();
  const record = { digest: built.digest, names: [], files: 2, bytes: 1, createdAt: new Date().toISOString() };
  await store.txn({
    if: [],
    then: [{ type: "put", key: keys.image("default", built.digest), value: JSON.stringify(record) }],
  });
  const images = {
    manifest: (digest: string) => manifestOf(there, digest),
    fetch: (digests: string[]) => Promise.resolve(handleFetch(there, digests)),
  };
  const copies = new ImageCopies({
    store,
    blobs: here,
    peers: {
      members: [member("b")],
      refresh: () => Promise.resolve(),
      to: () => ({ images }) as unknown as Peer,
    },
    log: () => undefined,
  });
  const { signal } = new AbortController();
  await copies.round(signal);
  expect(copies.lacking).toBe(0);
  const blobs = (await parseManifest(await manifestOf(there, built.digest))).blobs.keys();
  expect(await here.missing([built.digest, ...blobs])).toEqual([]);
});

describe.skipIf(etcdMissing !== null)(`images on several coordinators${skipNote}`, () => {
  let etcd: EtcdCluster;
  beforeAll(async () => {
    etcd = await startEtcd(1);
  });
  afterAll(() => etcd.close());

  test("an image that was pushed through a standby is pulled by a node after the one that acted has gone with its disk", async () => {
    const url = etcd.url();
    const acting = await Lab.start({ store: url });
    closing.push(() => acting.close());
    const standby = await Lab.start({ store: url });
    closing.push(() => standby.close());
    const agent = await FakeAgent.join(acting, "n1");
    closing.push(() => agent.close());
    const built = await buildImage(site("on both"));
    await pushImage(built, standby.api.images.remote());
    await standby.api.images.commit({ digest: built.digest, names: ["site"] });
    await acting.stop();
    rmSync(acting.dir, { recursive: true, force: true });
    agent.link.setAddresses([standby.running.ready.agentAddress]);
    await until(async () => {
      try {
        return (await agent.link.images.manifest(built.digest)).length > 0;
      } catch {
        return false;
      }
    });
    const { pullImage } = await import("../../../core/image/pull.ts");
    const node = await BlobStore.open(directory());
    const pulled = await pullImage(built.digest, agent.link.images, node);
    expect(await node.missing(pulled.manifest.blobs.keys())).toEqual([]);
    expect((await standby.api.status()).warnings.filter((w) => w.includes("lacks"))).toEqual([]);
  });

  test("a coordinator that comes later fetches the images that there are", async () => {
    const url = etcd.url();
    const acting = await Lab.start({ store: url });
    closing.push(() => acting.close());
    const built = await buildImage(site("early"));
    await pushImage(built, acting.api.images.remote());
    await acting.api.images.commit({ digest: built.digest, names: ["site"] });
    const late = await Lab.start({ store: url });
    closing.push(() => late.close());
    const disk = await BlobStore.open(join(late.dir, "data", "blobs"));
    await until(() => disk.has(built.digest));
    const { blobs } = await parseManifest(await manifestOf(disk, built.digest));
    expect(await disk.missing(blobs.keys())).toEqual([]);
  });
});
