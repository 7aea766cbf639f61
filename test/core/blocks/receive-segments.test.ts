/** Bytes that come with a snapshot: in place of others that were given up, and of those that nobody has any more. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlockStore, openBlockStore } from "../../../core/blocks/block-store.ts";
import { nodeFiles } from "../../../core/log/node-files.ts";
import { call, promised } from "../../../core/log/steps.ts";
import { BlockExchange } from "../../../core/state/block-exchange.ts";
import { blockPieceBytes } from "../../../core/state/limits.ts";
import { receiveSegments } from "../../../core/state/receive-segments.ts";
import { pieceBytes } from "./replicas.ts";

let root: string;
let stores: BlockStore[];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dvs-"));
  stores = [];
});
afterEach(() => {
  for (const store of stores) store.close();
  rmSync(root, { recursive: true });
});

async function open(name: string): Promise<BlockStore> {
  mkdirSync(join(root, name));
  const options = {
    files: nodeFiles(join(root, name)),
    after: (ms: number, run: () => void) => void setTimeout(run, ms),
    full: () => undefined,
    failed: (e: Error) => {
      throw e;
    },
  };
  const store = await promised(call<BlockStore>((done) => openBlockStore(options, done)));
  stores.push(store);
  return store;
}
const written = (store: BlockStore) => new Promise<void>((resolve) => store.whenWritten(resolve));

/** Two of them, with a link that loses nothing. */
function linked(from: BlockStore, to: BlockStore): BlockExchange {
  const sender: BlockExchange = new BlockExchange({
    store: from,
    send: (_, fields) => void setImmediate(() => receiver.received("a", fields)),
  });
  const receiver: BlockExchange = new BlockExchange({
    store: to,
    send: (_, fields) => void setImmediate(() => sender.received("b", fields)),
  });
  return receiver;
}

function receive(to: BlockStore, exchange: BlockExchange, segments: [number, number][], known = new Map()) {
  const nothing = () => undefined;
  return receiveSegments(segments, {
    from: "a",
    store: to,
    exchange,
    known,
    check: nothing,
    progress: nothing,
  });
}

test("what was given up is replaced piece by piece, and what is the same does not come", async () => {
  const [a, b] = [await open("a"), await open("b")];
  const length = 10 * blockPieceBytes + 1_000;
  a.write(1, 0, pieceBytes(length, 1));
  a.write(2, 0, pieceBytes(5_000, 2));
  b.write(1, 0, pieceBytes(length + 300_000, 1));
  b.write(1, 3 * blockPieceBytes + 17, new Uint8Array(100));
  b.write(1, length - 1, new Uint8Array([1, 2, 3]));
  b.write(3, 0, pieceBytes(1_000, 3));
  await Promise.all([written(a), written(b)]);
  const found = await receive(b, linked(a, b), [
    [1, length],
    [2, 5_000],
  ]);
  expect(found).toEqual({ received: blockPieceBytes + 1_000 + 5_000, missing: 0 });
  expect(await b.read(1, 0, length)).toEqual(pieceBytes(length, 1));
  expect(await b.read(2, 0, 5_000)).toEqual(pieceBytes(5_000, 2));
  // A truth that needs no segment 3: it goes as a discarded one.
  b.begin(
    9,
    new Map([
      [1, length],
      [4, 1],
    ]),
  );
  await promised(call((done) => b.collect(9, done)));
  expect(b.segments).toEqual(new Set([1]));
});

test("what is known is not asked for; what the sender has lost is told, and has its place", async () => {
  const [a, b] = [await open("a"), await open("b")];
  a.write(1, 0, pieceBytes(2 * blockPieceBytes, 1));
  b.write(1, 0, pieceBytes(blockPieceBytes + 10, 1));
  await Promise.all([written(a), written(b)]);
  const length = 3 * blockPieceBytes;
  const found = await receive(b, linked(a, b), [[1, length]], new Map([[1, blockPieceBytes + 10]]));
  expect(found).toEqual({ received: blockPieceBytes, missing: blockPieceBytes });
  expect(await b.lengthOf(1)).toBe(length);
  expect(await b.read(1, 0, 2 * blockPieceBytes)).toEqual(pieceBytes(2 * blockPieceBytes, 1));
});

test("what the own disk cannot read comes from the sender, and is written anew", async () => {
  const [a, b] = [await open("a"), await open("b")];
  const length = 3 * blockPieceBytes;
  for (const store of [a, b]) store.write(1, 0, pieceBytes(length, 1));
  await Promise.all([written(a), written(b)]);
  const read = b.read.bind(b);
  const put = b.put.bind(b);
  let isBad = true;
  b.read = (segment, position, bytes) =>
    isBad && position === blockPieceBytes ? Promise.reject(new Error("EIO")) : read(segment, position, bytes);
  b.put = (...piece) => put(...piece).then(() => void (isBad = false));
  expect(await receive(b, linked(a, b), [[1, length]])).toEqual({ received: blockPieceBytes, missing: 0 });
  expect(await b.read(1, 0, length)).toEqual(pieceBytes(length, 1));
});
