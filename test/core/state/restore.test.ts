/** The module `restore` on a database: pieces that nobody sees, one record that changes everything, and what goes wrong. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { recordKinds } from "../../../core/replica/record.ts";
import { restoreAbandonedMs } from "../../../core/state/limits.ts";
import type { ColumnValue } from "../../../core/state/module.ts";
import { kv } from "../../../core/state/modules/kv.ts";
import { encodePiece, type RestoreResult, restoreModule } from "../../../core/state/modules/restore.ts";
import { decodeResult, type Result } from "../../../core/state/result.ts";
import { ReplicaDatabase } from "./replica-database.ts";

let replica: ReplicaDatabase;
beforeEach(() => {
  replica = new ReplicaDatabase([kv, restoreModule([kv])]);
});
afterEach(() => {
  expect(replica.failures).toEqual([]);
  expect(replica.defects).toEqual([]);
  replica.end();
});

const bytes = (text: string) => new TextEncoder().encode(text);
const put = (key: string, value: string) => replica.kv({ op: "put", key, value: bytes(value) });
const entry = (key: string, value: string, lease: string | null = null): ColumnValue[] => [
  ...[bytes(key), bytes(value), 999_999],
  lease,
];

function restore(operation: object): Result {
  const encoded = replica.db.module("restore").encode(operation);
  return decodeResult(replica.apply(replica.record({ module: "restore", operation: encoded }))!);
}
function done(operation: object): RestoreResult {
  const result = restore(operation);
  if (!result.ok) throw new Error(result.message);
  return result.value as RestoreResult;
}
const piece = (id: string, number: number, rows: ColumnValue[][], table = "kv_entry") =>
  restore({ op: "piece", id, number, content: encodePiece(table, rows) });

function contents(): Record<string, string> {
  const { entries } = replica.read({ get: "list", prefix: "", limit: 1_000 }) as {
    entries: { key: string; value: Uint8Array }[];
  };
  return Object.fromEntries(entries.map(({ key, value }) => [key, new TextDecoder().decode(value)]));
}
function revisionOf(key: string): number {
  const { entries } = replica.read({ get: "key", key }) as { entries: { revision: number }[] };
  return entries[0]?.revision ?? 0;
}
/** Until nothing is left to be swept. */
function sweep(): void {
  for (let i = 0; i < 50; i++) replica.runTimers();
}
function tables(): string[] {
  const db = new DatabaseSync(replica.path, { readOnly: true });
  const rows = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all();
  db.close();
  return rows.map((row) => row["name"] as string);
}

test("pieces count for nothing until the commit, which changes everything at once", () => {
  put("a", "old");
  put("b", "old");
  done({ op: "begin", id: "1" });
  expect(piece("1", 0, [entry("a", "new"), entry("c", "new")])).toMatchObject({ ok: true });
  put("b", "meanwhile");
  expect(contents()).toEqual({ a: "old", b: "meanwhile" });
  const { record } = done({ op: "commit", id: "1", pieces: 1 });
  expect(record).toBe(replica.db.appliedIndex);
  expect(contents()).toEqual({ a: "new", c: "new" });
  put("b", "after");
  expect(contents()).toEqual({ a: "new", b: "after", c: "new" });
});

test("a key that was restored has a revision that it never had", () => {
  put("a", "first");
  const before = revisionOf("a");
  done({ op: "begin", id: "1" });
  piece("1", 0, [entry("a", "first")]);
  const { record } = done({ op: "commit", id: "1", pieces: 1 });
  const after = revisionOf("a");
  expect(after).toBeGreaterThan(before);
  expect(after).toBeLessThan(record);
  const change = { op: "put", key: "a", value: bytes("x") };
  expect(replica.kv({ ...change, ifRevision: before })).toMatchObject({ value: { done: false } });
  expect(replica.kv({ ...change, ifRevision: 999_999 })).toMatchObject({ value: { done: false } });
  expect(replica.kv({ ...change, ifRevision: after })).toMatchObject({ value: { done: true } });
});

test("who watches is told that its place is gone, and a new watch gets what comes after", () => {
  put("a", "1");
  const watcher = replica.db.module("kv").follow!({ prefix: "" });
  done({ op: "begin", id: "1" });
  piece("1", 0, [entry("a", "2")]);
  expect(watcher.next(10)).toEqual([]);
  put("b", "meanwhile");
  expect(watcher.next(10)).toHaveLength(1);
  const { record } = done({ op: "commit", id: "1", pieces: 1 });
  expect(() => watcher.next(10)).toThrow(`changes up to ${record} are no longer kept`);
  expect(() => replica.db.module("kv").follow!({ prefix: "", after: record - 1 })).toThrow("List the keys");
  // As the help of `dvs kv watch` says: behind the highest revision of what is listed.
  const listed = replica.db.module("kv").follow!({ prefix: "", after: revisionOf("a") });
  const fromNow = replica.db.module("kv").follow!({ prefix: "" });
  put("c", "3");
  for (const watch of [listed, fromNow]) expect(watch.next(10)).toMatchObject([{ changes: [{ key: "c" }] }]);
});

test("each operation may come again: it is carried out once", () => {
  done({ op: "begin", id: "1" });
  piece("1", 0, [entry("a", "1")]);
  expect(done({ op: "begin", id: "1" }).pieces).toBe(1);
  expect(piece("1", 0, [entry("a", "1")])).toMatchObject({ ok: true, value: { pieces: 1 } });
  expect(piece("1", 2, [entry("c", "1")])).toMatchObject({ ok: false });
  const first = done({ op: "commit", id: "1", pieces: 1 });
  put("a", "2");
  expect(done({ op: "commit", id: "1", pieces: 1 })).toEqual(first);
  expect(contents()).toEqual({ a: "2" });
  expect(restore({ op: "begin", id: "1" })).toMatchObject({ ok: false });
});

test("a commit that does not fit its pieces, and pieces that are none, change nothing", () => {
  put("a", "old");
  done({ op: "begin", id: "1" });
  piece("1", 0, [entry("a", "new")]);
  for (const operation of [
    { op: "commit", id: "1", pieces: 2 },
    { op: "commit", id: "2", pieces: 1 },
    { op: "piece", id: "2", number: 1, content: encodePiece("kv_entry", [entry("b", "x")]) },
    { op: "piece", id: "1", number: 1, content: encodePiece("kv_change", [[1, 1, bytes("a"), null]]) },
    { op: "piece", id: "1", number: 1, content: encodePiece("applied", [[1, 1, 1]]) },
    { op: "piece", id: "1", number: 1, content: encodePiece("kv_entry", [entry("", "no key")]) },
    {
      op: "piece",
      id: "1",
      number: 1,
      content: encodePiece("kv_entry", [[new Uint8Array([0xff]), bytes("x"), 1, null]]),
    },
    { op: "piece", id: "1", number: 1, content: encodePiece("kv_lease", [["l", -1, 0]]) },
    { op: "piece", id: "1", number: 1, content: bytes("?") },
  ]) {
    expect(restore(operation)).toMatchObject({ ok: false });
  }
  expect(contents()).toEqual({ a: "old" });
  done({ op: "commit", id: "1", pieces: 1 });
  expect(contents()).toEqual({ a: "new" });
});

test("the next begin clears one that was abandoned; without one, time does, unless it goes on", () => {
  done({ op: "begin", id: "1" });
  piece("1", 0, [entry("a", "1")]);
  done({ op: "begin", id: "2" });
  expect(restore({ op: "commit", id: "1", pieces: 1 })).toMatchObject({ ok: false });
  expect(replica.db.module("restore").read(null)).toMatchObject({ id: "2", pieces: 0 });
  const due = () => replica.db.module("restore").due!(replica.timeMs);
  expect(due()).toBeNull();
  replica.timeMs += restoreAbandonedMs;
  const abort = due()!;
  // Drawn up before this piece came: it is not abandoned.
  piece("2", 0, [entry("b", "1")]);
  replica.apply(replica.record({ module: "restore", operation: abort }));
  expect(replica.db.module("restore").read(null)).toMatchObject({ id: "2", pieces: 1 });
  expect(due()).toBeNull();
  replica.timeMs += restoreAbandonedMs;
  replica.apply(replica.record({ module: "restore", operation: due()! }));
  expect(restore({ op: "commit", id: "2", pieces: 1 })).toMatchObject({ ok: false });
  sweep();
  expect(tables().filter((name) => /^(restore_\d|trash_)/.test(name))).toEqual([]);
  expect(contents()).toEqual({});
});

test("leases come with their keys and their full time", () => {
  put("a", "1");
  replica.kv({ op: "grant", lease: "gone", ttlMs: 5_000 });
  done({ op: "begin", id: "1" });
  piece("1", 0, [["kept", 10_000, 5]], "kv_lease");
  piece("1", 1, [entry("leased", "x", "kept")]);
  replica.timeMs += 60_000;
  done({ op: "commit", id: "1", pieces: 2 });
  expect(replica.kv({ op: "keep", lease: "gone" })).toMatchObject({ value: { done: false } });
  replica.timeMs += 9_999;
  replica.kv({ op: "expire" });
  expect(contents()).toEqual({ leased: "x" });
  replica.timeMs += 1;
  replica.kv({ op: "expire" });
  expect(contents()).toEqual({});
});

test("replicas agree after each record, whatever of the trash they have swept and whenever they began", () => {
  for (let i = 0; i < 2_000; i++) put(`key-${i}`, "x".repeat(300));
  done({ op: "begin", id: "1" });
  piece("1", 0, [entry("a", "1")]);
  replica.db.commit();
  // A replica that joins in the middle, by a snapshot of this moment.
  const copy = join(replica.dir, "copy.db");
  const source = new DatabaseSync(replica.path);
  source.prepare("VACUUM INTO ?").run(copy);
  source.close();
  const from = replica.db.appliedIndex;
  const other = replica.open(copy);
  piece("1", 1, [entry("b", "2")]);
  done({ op: "commit", id: "1", pieces: 2 });
  put("c", "3");
  sweep();
  for (const record of replica.log.filter(({ index }) => index > from)) {
    if (record.kind === recordKinds.operation) other.execute(record);
    other.applied(record);
  }
  other.commit();
  expect(other.digest()).toBe(replica.db.digest());
  other.close();
  // Another that was killed after the commit, and sweeps after it has begun again.
  copyFileSync(copy, `${copy}.again`);
  const again = replica.open(`${copy}.again`);
  expect(again.digest()).toBe(replica.db.digest());
  sweep();
  expect(again.digest()).toBe(replica.db.digest());
  again.close();
  expect(contents()).toEqual({ a: "1", b: "2", c: "3" });
  expect(tables().filter((name) => name.startsWith("trash_"))).toEqual([]);
});

test("who reads beside sees the old state or the new one, with the statements that it has", () => {
  put("a", "old");
  put("b", "old");
  replica.db.commit();
  const db = new DatabaseSync(replica.path, { readOnly: true });
  const reader = kv.open(db);
  const values = () => {
    const { entries } = reader.read({ get: "list", prefix: "", limit: 10 }) as {
      entries: { value: Uint8Array }[];
    };
    return entries.map(({ value }) => new TextDecoder().decode(value));
  };
  expect(values()).toEqual(["old", "old"]);
  done({ op: "begin", id: "1" });
  piece("1", 0, [entry("a", "new"), entry("b", "new"), entry("c", "new")]);
  done({ op: "commit", id: "1", pieces: 1 });
  expect(values()).toEqual(["old", "old"]);
  replica.db.commit();
  expect(values()).toEqual(["new", "new", "new"]);
  sweep();
  expect(values()).toEqual(["new", "new", "new"]);
  db.close();
});

test("only the commit touches what is read", () => {
  const module = replica.db.module("restore");
  const bound = (operation: object) => module.touched(module.encode(operation));
  expect(bound({ op: "begin", id: "1" })).toEqual([]);
  expect(bound({ op: "piece", id: "1", number: 0, content: bytes("x") })).toEqual([]);
  expect(bound({ op: "abort", id: "1" })).toEqual([]);
  expect(bound({ op: "commit", id: "1", pieces: 0 })).toBeNull();
});
