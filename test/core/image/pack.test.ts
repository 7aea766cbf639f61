import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fc from "fast-check";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlobStore } from "../../../core/image/blob-store.ts";
import { digestOf } from "../../../core/image/digest.ts";
import { decodePack } from "../../../core/image/pack-decode.ts";
import { encodePack, type BlobSource } from "../../../core/image/pack-encode.ts";
import {
  encodeEnd,
  encodeHead,
  frameHeadBytes,
  kindBlob,
  packMagic,
  smallBlobBytes,
} from "../../../core/image/pack.ts";
import { rejectionOf } from "./rejection.ts";

let base: string;
let stores = 0;
beforeAll(() => void (base = mkdtempSync(join(tmpdir(), "dvs-"))));
afterAll(() => rmSync(base, { recursive: true, force: true }));
const newStore = (): Promise<BlobStore> => BlobStore.open(join(base, String(stores++)));

const sourceOf = (blobs: Uint8Array[]): BlobSource & { digests: string[] } => {
  const all = new Map(blobs.map((bytes) => [digestOf(bytes), bytes]));
  return {
    digests: [...all.keys()],
    size: (digest) => all.get(digest)?.length,
    read: async (digest) => all.get(digest) as Uint8Array,
    openStream: (digest) => streamOf([all.get(digest) as Uint8Array]),
  };
};
const streamOf = (chunks: Iterable<Uint8Array>): ReadableStream<Uint8Array> => {
  const iterator = chunks[Symbol.iterator]();
  return new ReadableStream({
    pull(controller) {
      const next = iterator.next();
      if (next.done) controller.close();
      else controller.enqueue(next.value);
    },
  });
};
const bytesOf = async (stream: ReadableStream<Uint8Array>): Promise<Uint8Array> =>
  new Uint8Array(await new Response(stream).arrayBuffer());
const packOf = (blobs: Uint8Array[]): Promise<Uint8Array> => {
  const source = sourceOf(blobs);
  return bytesOf(encodePack(source.digests, source));
};
const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const pieces = (bytes: Uint8Array, size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
const tempFiles = (store: BlobStore): number => readdirSync(join(store.dir, "tmp")).length;

test("a pack brings every blob over, however the bytes are cut on their way", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 200 }),
      async (blobs, size) => {
        const store = await newStore();
        const source = sourceOf(blobs);
        await decodePack(streamOf(pieces(await packOf(blobs), size)), store);
        for (const digest of source.digests) {
          expect(await store.read(digest)).toEqual(new Uint8Array(await source.read(digest)));
        }
        expect(await store.missing(source.digests)).toEqual([]);
      },
    ),
    { numRuns: 40 },
  );
});

test("large blobs go through beside small ones, and those that are here already are passed over", async () => {
  const large = new Uint8Array(smallBlobBytes * 3 + 17).map((_, i) => i % 253);
  const blobs = [new Uint8Array([1]), large, new Uint8Array(0), large.slice(1), new Uint8Array([2])];
  const store = await newStore();
  const pack = await packOf(blobs);
  for (let round = 0; round < 2; round++) {
    expect(await decodePack(streamOf(pieces(pack, 10_007)), store)).toMatchObject({ blobs: blobs.length });
  }
  for (const bytes of blobs) expect(await store.read(digestOf(bytes))).toEqual(bytes);
});

test("a pack that is cut off anywhere is UNAVAILABLE, what came whole is kept, and nothing half is left", async () => {
  const blobs = [new Uint8Array([1, 2, 3]), new Uint8Array(100).fill(7), new Uint8Array([9])];
  const pack = await packOf(blobs);
  const store = await newStore();
  for (let end = 0; end < pack.length; end++) {
    const decoding = decodePack(streamOf([pack.subarray(0, end)]), store);
    expect(await rejectionOf(decoding)).toMatchObject({ code: "UNAVAILABLE" });
    const whole = end >= packMagic.length + frameHeadBytes + 3;
    expect(store.has(digestOf(blobs[0] as Uint8Array))).toBe(whole);
  }
  await store.flush();
  expect(tempFiles(store)).toBe(0);
});

test("content that is not what its head says is refused, and nothing of it kept", async () => {
  const store = await newStore();
  for (const size of [10, smallBlobBytes + 10]) {
    const content = new Uint8Array(size);
    const head = encodeHead(kindBlob, digestOf(new Uint8Array([1])), size);
    const pack = joined(packMagic, head, content, encodeEnd(1));
    expect(await rejectionOf(decodePack(streamOf([pack]), store))).toMatchObject({ code: "INVALID" });
    const bad: string[] = [];
    await decodePack(streamOf([pack]), store, { onBad: (digest) => bad.push(digest) });
    expect(bad).toEqual([digestOf(new Uint8Array([1]))]);
  }
  expect(tempFiles(store)).toBe(0);
});

const digest = digestOf(new Uint8Array([5]));
const hostile: [string, Uint8Array, string, object][] = [
  ["no magic", new TextEncoder().encode("GET / HTTP/1.1\r\n"), "INVALID", {}],
  ["an unknown kind", joined(packMagic, encodeHead(77, digest, 0)), "INVALID", {}],
  ["a size of 2^63", joined(packMagic, encodeHead(kindBlob, digest, 2 ** 63)), "TOO_LARGE", {}],
  ["a blob beyond the limit", joined(packMagic, encodeHead(kindBlob, digest, 2 ** 40)), "TOO_LARGE", {}],
  ["a wrong count", joined(packMagic, encodeEnd(3)), "INVALID", {}],
  ["bytes after its end", joined(packMagic, encodeEnd(0), new Uint8Array([0])), "INVALID", {}],
  [
    "an absent blob that has bytes",
    joined(packMagic, encodeHead(2, digest, 5)),
    "INVALID",
    { onAbsent: () => {} },
  ],
  [
    "a blob nobody asked for",
    joined(packMagic, encodeHead(kindBlob, digest, 1)),
    "INVALID",
    { wanted: new Map() },
  ],
  [
    "a blob of another size than asked for",
    joined(packMagic, encodeHead(kindBlob, digest, 1)),
    "INVALID",
    { wanted: new Map([[digest, 2]]) },
  ],
  [
    "more content than allowed",
    joined(packMagic, encodeHead(kindBlob, digest, 101)),
    "TOO_LARGE",
    { bytesMax: 100 },
  ],
  [
    "more frames than allowed",
    joined(packMagic, encodeHead(kindBlob, digest, 1)),
    "TOO_LARGE",
    { framesMax: 0 },
  ],
];
for (const [what, pack, code, options] of hostile) {
  test(`a pack with ${what} is refused before any of it is stored`, async () => {
    const store = await newStore();
    expect(await rejectionOf(decodePack(streamOf([pack]), store, options))).toMatchObject({ code });
    expect(readdirSync(store.dir)).toEqual(["tmp"]);
    expect(tempFiles(store)).toBe(0);
  });
}

test("a sender that claims gigabytes and sends without end is read only as fast as the limit says", async () => {
  const store = await newStore();
  const bytesMax = 8 * 1024 * 1024;
  let sent = 0;
  const chunk = new Uint8Array(64 * 1024);
  const endless = function* (): Generator<Uint8Array> {
    yield joined(packMagic, encodeHead(kindBlob, digest, bytesMax));
    for (;;) {
      sent += chunk.length;
      yield chunk;
    }
  };
  expect(await rejectionOf(decodePack(streamOf(endless()), store, { bytesMax }))).toMatchObject({
    code: "INVALID",
  });
  expect(sent).toBeLessThan(bytesMax + 4 * chunk.length);
  expect(tempFiles(store)).toBe(0);
});

test("a head that claims much makes nobody allocate it", async () => {
  const store = await newStore();
  const pack = joined(packMagic, encodeHead(kindBlob, digest, 256 * 1024 ** 2));
  const before = process.memoryUsage().arrayBuffers;
  const decoding = decodePack(
    new ReadableStream({
      start: (controller) => controller.enqueue(pack),
    }),
    store,
    { stallMs: 100, bytesMax: Infinity },
  );
  expect(await rejectionOf(decoding)).toMatchObject({ code: "UNAVAILABLE" });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
});

test("a sender that falls silent is given up", async () => {
  const store = await newStore();
  const silent = new ReadableStream<Uint8Array>({ start: (c) => c.enqueue(packMagic) });
  expect(await rejectionOf(decodePack(silent, store, { stallMs: 50 }))).toMatchObject({
    code: "UNAVAILABLE",
  });
});

test("a blob without a good copy goes as absent where that is allowed, and ends the pack where not", async () => {
  const [sender, receiver] = [await newStore(), await newStore()];
  await sender.put([new Uint8Array([5])], digest);
  const lost = digestOf(new Uint8Array([6]));
  const absent: string[] = [];
  const pack = encodePack([lost, digest], sender, { onAbsent: (d) => absent.push(d) });
  const told: string[] = [];
  await decodePack(pack, receiver, { onAbsent: (d) => told.push(d) });
  expect([absent, told, receiver.has(digest)]).toEqual([[lost], [lost], true]);
  expect(await rejectionOf(bytesOf(encodePack([lost], sender)))).toMatchObject({ code: "NOT_FOUND" });
});

test("a pack is read from the disk only as it is taken", async () => {
  let read = 0;
  const blobs = Array.from({ length: 200 }, (_, i) => new Uint8Array(50_000).fill(i));
  const source = sourceOf(blobs);
  const counting: BlobSource = { ...source, read: (d) => (read++, source.read(d)) };
  const reader = encodePack(source.digests, counting).getReader();
  await reader.read();
  expect(read).toBeLessThan(30);
  await reader.cancel();
});
