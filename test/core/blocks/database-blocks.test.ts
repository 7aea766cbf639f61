/** A database and its blocks: what is committed is in the files, at whatever moment the host process dies. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlockStore, openBlockStore } from "../../../core/blocks/block-store.ts";
import { type LogFiles, NoSpace } from "../../../core/log/log-files.ts";
import { nodeFiles } from "../../../core/log/node-files.ts";
import { call, promised } from "../../../core/log/steps.ts";
import { type LogRecord, RecordEncoder, type RecordKind, recordKinds } from "../../../core/replica/record.ts";
import { StateDatabase } from "../../../core/state/database.ts";
import { decodeResult } from "../../../core/state/result.ts";
import { gate } from "./gate.ts";
import { type PieceOperation, piecesModule } from "./test-module.ts";

const segmentBytes = 2_000;
const modules = [piecesModule(segmentBytes)];
const encoder = new RecordEncoder();

let root: string;
let log: LogRecord[];
let opened: { db: StateDatabase; store: BlockStore }[];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dvs-"));
  log = [];
  opened = [];
});
afterEach(() => {
  for (const { db, store } of opened) {
    db.close();
    store.close();
  }
  rmSync(root, { recursive: true });
});

interface Opened {
  db: StateDatabase;
  store: BlockStore;
  committed: number[];
  failures: Error[];
}

async function open(dir: string, wrap: (files: LogFiles) => LogFiles = (files) => files): Promise<Opened> {
  mkdirSync(join(dir, "blocks"), { recursive: true });
  const committed: number[] = [];
  const failures: Error[] = [];
  const failed = (e: Error): void => void failures.push(e);
  const after = (ms: number, run: () => void): void => void setTimeout(run, Math.min(ms, 5));
  const files = wrap(nodeFiles(join(dir, "blocks")));
  const store = await promised(
    call<BlockStore>((done) => openBlockStore({ files, after, full: () => undefined, failed }, done)),
  );
  const db: StateDatabase = new StateDatabase({
    path: join(dir, "state.db"),
    modules,
    blocks: store,
    after,
    committed: (index) => void committed.push(index),
    failed,
  });
  store.begin(db.appliedIndex, db.segments);
  opened.push({ db, store });
  return { db, store, committed, failures };
}

function draw(db: StateDatabase, kind: RecordKind, operation: Uint8Array, client = ""): LogRecord {
  const record = encoder.encode({
    ...{ epoch: 1, index: db.appliedIndex + 1, kind, timeMs: 1_000, random: new Uint8Array(16), client },
    ...{ sequence: 0, ackedBelow: 0, module: "pieces", operation },
  });
  log.push(record);
  return record;
}

function apply(db: StateDatabase, record: LogRecord): unknown {
  let result: unknown;
  if (record.kind === recordKinds.level) db.levelRaised("pieces", 1);
  if (record.kind === recordKinds.operation) result = decodeResult(db.execute(record));
  db.applied(record);
  return result;
}

const begin = (db: StateDatabase) => apply(db, draw(db, recordKinds.level, new Uint8Array([1])));
const operate = (db: StateDatabase, operation: PieceOperation, client = "") =>
  apply(db, draw(db, recordKinds.operation, db.module("pieces").encode(operation), client));
const bytes = (length: number, seed: number) => new Uint8Array(length).map((_, i) => (i * 11 + seed) & 255);
const idsIn = (db: StateDatabase) => (db.module("pieces").read(null) as number[][]).map(([id]) => id!);
const piece = (db: StateDatabase, id: number) => db.module("pieces").read(id) as Promise<Uint8Array>;

/** As kill -9 leaves it. */
function killed(dir: string): string {
  const copy = mkdtempSync(join(root, "killed-"));
  cpSync(dir, copy, { recursive: true });
  return copy;
}

test("a COMMIT waits for the blocks of its operations; reads do not", async () => {
  const dir = join(root, "a");
  const { wrap, open: letThrough } = gate();
  const { db, committed } = await open(dir, wrap);
  begin(db);
  expect(await db.settled()).toBe(true);
  operate(db, { append: bytes(500, 1) });
  operate(db, { append: bytes(700, 2) });
  db.commit();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(committed).toEqual([1]);
  expect(await piece(db, 3)).toEqual(bytes(700, 2));
  const died = await open(killed(dir));
  expect(idsIn(died.db)).toEqual([]);

  const settled = db.settled();
  letThrough();
  expect(await settled).toBe(true);
  expect(committed).toEqual([1, 3]);
  const after = await open(killed(dir));
  expect(idsIn(after.db)).toEqual([2, 3]);
  expect(await piece(after.db, 2)).toEqual(bytes(500, 1));
  expect([...after.db.segments]).toEqual([[1, 512 + 700]]);
});

test("what a refused operation has put somewhere is not there; what is discarded is not either", async () => {
  const { db, store } = await open(join(root, "a"));
  begin(db);
  expect(operate(db, { refuse: bytes(1_500, 1) })).toMatchObject({ ok: false });
  expect(store.isWritten).toBe(true);
  expect(db.segments.size).toBe(0);
  operate(db, { append: bytes(900, 0) });
  expect([...db.segments]).toEqual([[1, 900]]);
  for (let i = 1; i < 5; i++) operate(db, { append: bytes(900, i) });
  expect([...db.segments.keys()]).toEqual([1, 2, 3]);
  operate(db, { drop: 3 });
  expect([...db.segments.keys()]).toEqual([3]);
  await db.settled();
  expect(store.segments).toEqual(new Set([1, 2, 3]));
  await promised(call((done) => store.collect(db.appliedIndex, done)));
  expect([...store.segments]).toEqual([3]);
  expect(await piece(db, 7)).toEqual(bytes(900, 4));
});

test("killed at any moment and applied again from what was committed, it has the same tables and the same bytes", async () => {
  const dir = join(root, "a");
  const { db } = await open(dir);
  begin(db);
  const copies: string[] = [];
  for (let i = 0; i < 40; i++) {
    operate(db, i % 9 === 8 ? { drop: 2 + Math.floor(i / 4) } : { append: bytes(100 + 37 * i, i) });
    if (i % 5 === 0) copies.push(killed(dir));
    if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 6));
    if (i % 11 === 0) db.commit();
  }
  await db.settled();
  const digest = db.digest();
  const expected = await Promise.all(idsIn(db).map((id) => piece(db, id)));
  for (const copy of copies) {
    const { db: again, failures } = await open(copy);
    // All that it names is there, before it goes on.
    for (const id of idsIn(again)) await piece(again, id);
    for (const record of log.slice(again.appliedIndex)) apply(again, record);
    await again.settled();
    expect(again.digest()).toBe(digest);
    expect(await Promise.all(idsIn(again).map((id) => piece(again, id)))).toEqual(expected);
    expect(failures).toEqual([]);
  }
});

test("while the disk has no room for blocks nothing is committed, everything is read, and nothing is lost", async () => {
  const dir = join(root, "a");
  let isFull = false;
  const wrap = (files: LogFiles): LogFiles => ({
    ...files,
    open: (name, how, done) =>
      files.open(name, how, (e, file) => {
        if (file) {
          const write = file.write.bind(file);
          file.write = (blocks, position, end) =>
            isFull ? end(new NoSpace("ENOSPC")) : write(blocks, position, end);
        }
        done(e, file);
      }),
  });
  const { db, store, committed, failures } = await open(dir, wrap);
  begin(db);
  await db.settled();
  isFull = true;
  for (let i = 0; i < 10; i++) operate(db, { append: bytes(300, i) });
  while (!store.isFull) await new Promise(setImmediate);
  expect(await db.settled()).toBe(false);
  expect(committed).toEqual([1]);
  expect(await piece(db, 11)).toEqual(bytes(300, 9));
  // The database as well: it carries everything out once more.
  db.limitPages(0);
  isFull = false;
  while (!store.isWritten) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, 20));
  db.limitPages(1_000);
  while (committed.at(-1) !== 11) await new Promise((resolve) => setTimeout(resolve, 1));
  const after = await open(killed(dir));
  expect(after.db.digest()).toBe(db.digest());
  for (const id of idsIn(after.db)) expect(await piece(after.db, id)).toEqual(bytes(300, id - 2));
  expect(failures).toEqual([]);
});

test("what belongs to a client goes with its removal", async () => {
  const { db } = await open(join(root, "a"));
  begin(db);
  operate(db, { append: bytes(10, 1) }, "a");
  operate(db, { append: bytes(10, 2) }, "b");
  apply(db, draw(db, recordKinds.clientRemoved, new Uint8Array(0), "a"));
  expect(idsIn(db)).toEqual([3]);
  expect(db.appliedIndex).toBe(4);
});
