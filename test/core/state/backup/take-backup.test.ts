/** A restore as a state process carries it out: what is refused before anything changes, and what goes on whatever is lost. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DvsError } from "../../../../core/errors.ts";
import type { WriteOutcome } from "../../../../core/replica/sink.ts";
import type { BackupHeader } from "../../../../core/state/backup/format.ts";
import { BackupTaker, type RestoreTarget } from "../../../../core/state/backup/take-backup.ts";
import { unpackBackup } from "../../../../core/state/backup/unpack.ts";
import { restoreDir } from "../../../../core/state/backup/unpacked.ts";
import { kv } from "../../../../core/state/modules/kv.ts";
import { type RestoreOperation, restoreModule } from "../../../../core/state/modules/restore.ts";
import { ReplicaDatabase } from "../replica-database.ts";

const modules = [kv, restoreModule([kv])];
let source: ReplicaDatabase;
let place: ReplicaDatabase;
beforeEach(() => {
  source = new ReplicaDatabase(modules);
  place = new ReplicaDatabase(modules);
  put(place, "old", "x");
});
afterEach(() => {
  for (const replica of [source, place]) {
    expect(replica.failures).toEqual([]);
    replica.end();
  }
});

const put = (replica: ReplicaDatabase, key: string, value: string | Uint8Array) =>
  replica.kv({ op: "put", key, value: typeof value === "string" ? new TextEncoder().encode(value) : value });
function contents(replica: ReplicaDatabase): string[] {
  const { entries } = replica.read({ get: "list", prefix: "", limit: 1_000 }) as {
    entries: { key: string }[];
  };
  return entries.map(({ key }) => key);
}

/** A file of it, as `snapshotNow` makes one; and what else is done to that. */
function snapshot(replica: ReplicaDatabase, change?: (db: DatabaseSync) => void): Uint8Array {
  replica.db.commit();
  const path = join(replica.dir, "snapshot.db");
  rmSync(path, { force: true });
  const db = new DatabaseSync(replica.path);
  db.prepare("VACUUM INTO ?").run(path);
  db.close();
  const copy = new DatabaseSync(path);
  copy.prepare("PRAGMA journal_mode = DELETE").get();
  change?.(copy);
  copy.close();
  return new Uint8Array(readFileSync(path));
}
function headerOf(bytes: Uint8Array, more: Partial<BackupHeader> = {}): BackupHeader {
  return {
    ...{ format: "dvs-state-backup", version: 2, tenant: "default", instance: "kv", uid: "u1", os: "hello" },
    ...{ epoch: source.epoch, index: source.db.appliedIndex, madeAt: "2026-01-01T00:00:00.000Z" },
    streams: [{ name: "state", bytes: bytes.length }],
    ...more,
  };
}
async function* cut(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
}

/** The outcome of each write in its turn: `lost` was carried out, and nobody says so. */
type Fate = "ok" | "lost" | Extract<WriteOutcome, { type: "refused" }>["reason"];

function takerOf(fates: Fate[] = [], more: Partial<RestoreTarget> = {}) {
  const operations: RestoreOperation[] = [];
  const target: RestoreTarget = {
    isPrimary: () => true,
    level: () => 2,
    write(operation) {
      operations.push(operation);
      const fate = fates.shift() ?? "ok";
      if (fate !== "ok" && fate !== "lost")
        return Promise.resolve({ type: "refused", reason: fate, text: `because of ${fate}` });
      const encoded = place.db.module("restore").encode(operation);
      const result = place.apply(place.record({ module: "restore", operation: encoded }))!;
      const index = place.db.appliedIndex;
      return Promise.resolve(fate === "ok" ? { type: "ok", result, index } : { type: "uncertain" });
    },
    unpack: () => unpackBackup(place.dir, modules),
    ...more,
  };
  const taker = new BackupTaker(target, { instance: "kv", os: "hello", dataDir: place.dir });
  return { taker, operations };
}

async function refusal(action: Promise<unknown>): Promise<DvsError> {
  try {
    await action;
  } catch (e) {
    if (e instanceof DvsError) return e;
    throw e;
  }
  throw new Error("it did not fail");
}

test("all of a backup comes back: many keys, large ones, leases; and what was there is gone", async () => {
  for (let i = 0; i < 700; i++) put(source, `key-${i}`, `value-${i}`);
  put(source, "large", new Uint8Array(512 * 1024).fill(7));
  source.kv({ op: "grant", lease: "l", ttlMs: 9_000 });
  source.kv({ op: "put", key: "leased", value: new Uint8Array([0, 255]), lease: "l" });
  put(source, "nul\0key", "");
  const bytes = snapshot(source);
  const { taker, operations } = takerOf();
  const answer = await taker.take(headerOf(bytes), cut(bytes));
  expect(answer).toEqual({ index: place.db.appliedIndex });
  expect(operations.length).toBeGreaterThan(4);
  expect(contents(place)).toEqual(contents(source));
  for (const key of ["key-699", "large", "leased", "nul\0key"]) {
    const of = (replica: ReplicaDatabase) =>
      (replica.read({ get: "key", key }) as { entries: { value: Uint8Array; lease?: string }[] }).entries[0]!;
    expect(Buffer.from(of(place).value).equals(Buffer.from(of(source).value))).toBe(true);
    expect(of(place).lease).toEqual(of(source).lease);
  }
  expect(existsSync(restoreDir(place.dir))).toBe(false);
});

test("what cannot be restored is refused whole, with the reason, and before anything is written", async () => {
  put(source, "new", "y");
  const good = snapshot(source);
  const damaged = good.slice();
  damaged.fill(0x55, 4_200, 9_000);
  const cases: [bytes: Uint8Array, more: Partial<BackupHeader>, code: string, says: string][] = [
    [good, { os: "web" }, "INVALID", "OS web"],
    [good, { index: 99 }, "INVALID", "another record"],
    [good, { streams: [{ name: "blocks/1", bytes: good.length }] }, "INVALID", "blocks/1"],
    [good.subarray(0, -4_096), { streams: [{ name: "state", bytes: good.length }] }, "FAILED", "cut short"],
    [good.subarray(0, 8_192), { version: 1, streams: undefined }, "INVALID", "damaged"],
    [new Uint8Array(100), {}, "INVALID", "damaged"],
    [new Uint8Array(0), {}, "INVALID", "something else"],
    [damaged, {}, "INVALID", "damaged"],
    [snapshot(source, (db) => db.exec("PRAGMA application_id = 5")), {}, "INVALID", "something else"],
    [snapshot(source, (db) => db.exec("PRAGMA user_version = 7")), {}, "INVALID", "format 7"],
    [
      snapshot(source, (db) => db.exec("UPDATE module SET level = 9 WHERE name = 'kv'")),
      {},
      "INVALID",
      "level 9",
    ],
    [snapshot(source, (db) => db.exec("INSERT INTO module VALUES ('blk', 1)")), {}, "INVALID", '"blk"'],
    [snapshot(source, (db) => db.exec("UPDATE kv_entry SET key = x''")), {}, "INVALID", "a key"],
    [snapshot(source, (db) => db.exec("UPDATE kv_entry SET lease = 'nobody'")), {}, "INVALID", "lease"],
    [snapshot(source, (db) => db.exec("DROP TABLE kv_lease")), {}, "INVALID", "kv_lease"],
    [snapshot(source, (db) => db.exec("ALTER TABLE kv_entry DROP COLUMN value")), {}, "INVALID", "tables"],
  ];
  for (const [bytes, more, code, says] of cases) {
    const { taker, operations } = takerOf();
    const error = await refusal(taker.take(headerOf(bytes, more), cut(bytes)));
    expect({ says, code: error.code, message: error.message }).toMatchObject({
      code,
      message: expect.stringContaining(says) as string,
    });
    expect(operations).toEqual([]);
    expect(existsSync(restoreDir(place.dir))).toBe(false);
  }
  const { taker } = takerOf([], { level: (module) => (module === "restore" ? 2 : 0) });
  expect((await refusal(taker.take(headerOf(good), cut(good)))).message).toContain("up to date");
  const elsewhere = takerOf([], { isPrimary: () => false }).taker;
  expect((await refusal(elsewhere.take(headerOf(good), cut(good)))).code).toBe("UNAVAILABLE");
  const huge = headerOf(good, { streams: [{ name: "state", bytes: 2 ** 50 }] });
  expect((await refusal(takerOf().taker.take(huge, cut(good)))).code).toBe("EXHAUSTED");
  expect(contents(place)).toEqual(["old"]);
});

test("whatever answer is lost, and whoever is primary for a while: it is restored, once", async () => {
  put(source, "new", "y");
  const bytes = snapshot(source);
  const { taker, operations } = takerOf([
    ...(["no-primary", "lost", "lost", "ok", "busy", "lost", "ok"] as const),
    ...(["lost", "no-primary", "lost"] as const),
  ]);
  await taker.take(headerOf(bytes), cut(bytes));
  expect(operations.map(({ op }) => op)).toEqual([
    ...Array<"begin">(4).fill("begin"),
    ...Array<"piece">(3).fill("piece"),
    ...Array<"commit">(4).fill("commit"),
  ]);
  expect(contents(place)).toEqual(["new"]);
});

test("what is refused for good leaves the old state; a lost answer of the commit is told as unknown", async () => {
  put(source, "new", "y");
  const bytes = snapshot(source);
  const full = takerOf(["ok", "disk-full"]);
  expect((await refusal(full.taker.take(headerOf(bytes), cut(bytes)))).code).toBe("EXHAUSTED");
  expect(full.operations.at(-1)).toMatchObject({ op: "abort" });
  const few = takerOf(["ok", "ok", "below-min-in-sync"]);
  expect((await refusal(few.taker.take(headerOf(bytes), cut(bytes)))).code).toBe("UNAVAILABLE");
  expect(contents(place)).toEqual(["old"]);
  const lost = takerOf(["ok", "ok", "lost", "stopping"]);
  expect((await refusal(lost.taker.take(headerOf(bytes), cut(bytes)))).code).toBe("OUTCOME_UNKNOWN");
});

test("one restore at a time; the last of two that meet elsewhere wins, and the other is told", async () => {
  put(source, "new", "y");
  const bytes = snapshot(source);
  const { taker } = takerOf();
  const first = taker.take(headerOf(bytes), cut(bytes));
  expect((await refusal(taker.take(headerOf(bytes), cut(bytes)))).code).toBe("CONFLICT");
  await first;
  const rival = { op: "begin", id: "1" } as const;
  let writes = 0;
  const overtaken = takerOf([], {
    write(operation) {
      if (writes++ === 1) void takerWrite(rival);
      return takerWrite(operation);
    },
  });
  const error = await refusal(overtaken.taker.take(headerOf(bytes), cut(bytes)));
  expect(error.code).toBe("CONFLICT");
  expect(error.message).toContain("another restore");
  expect(place.db.module("restore").read(null)).toMatchObject({ id: "1" });
});

function takerWrite(operation: RestoreOperation): Promise<WriteOutcome> {
  const encoded = place.db.module("restore").encode(operation);
  const result = place.apply(place.record({ module: "restore", operation: encoded }))!;
  return Promise.resolve({ type: "ok", result, index: place.db.appliedIndex });
}
