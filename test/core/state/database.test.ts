/** The database of a replica: what it applied comes back after its host process has died, whole records only. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { recordKinds } from "../../../core/replica/record.ts";
import { commitRecords } from "../../../core/state/limits.ts";
import { ModuleRefusal, type StateModule } from "../../../core/state/module.ts";
import { kv } from "../../../core/state/modules/kv.ts";
import { decodeResult } from "../../../core/state/result.ts";
import { ReplicaDatabase } from "./replica-database.ts";

/** Operations are SQL; "refuse" and "throw" do so after they have changed something. */
const unruly: StateModule = {
  name: "unruly",
  level: 1,
  create: (db) => db.exec("CREATE TABLE unruly_row (n INTEGER) STRICT"),
  open: (db) => ({
    encode: (operation) => new TextEncoder().encode(String(operation)),
    apply(operation) {
      const what = new TextDecoder().decode(operation);
      db.exec("INSERT INTO unruly_row VALUES (1)");
      if (what === "refuse") throw new ModuleRefusal("as asked");
      if (what === "throw") throw new TypeError("a defect");
      if (what === "large") return "x".repeat(5_000);
      return what;
    },
    touched: () => null,
    keysOf: () => null,
    read: () => (db.prepare("SELECT count(*) AS n FROM unruly_row").get() as { n: number }).n,
    rows: () => [],
  }),
};

let replica: ReplicaDatabase;
beforeEach(() => {
  replica = new ReplicaDatabase([kv, unruly]);
});
afterEach(() => replica.end());

const put = (key: string) => replica.kv({ op: "put", key, value: new Uint8Array([1, 2, 3]) });
const run = (operation: string) =>
  decodeResult(
    replica.apply(replica.record({ module: "unruly", operation: new TextEncoder().encode(operation) }))!,
  );

/** As another host process sees it, or this one after kill -9: without what is not committed. */
function asAfterKill(): ReturnType<ReplicaDatabase["open"]> {
  const copy = join(replica.dir, `copy${Math.random()}.db`);
  copyFileSync(replica.path, copy);
  copyFileSync(`${replica.path}-wal`, `${copy}-wal`);
  return replica.open(copy);
}

test("records are committed by the number or by the clock, always whole, and told to who reads the file", () => {
  replica.runTimers();
  replica.committed.length = 0;
  for (let i = 0; i < commitRecords; i++) put(`key${i}`);
  expect(replica.committed).toEqual([replica.db.appliedIndex]);
  put("one more");
  let after = asAfterKill();
  expect(after.appliedIndex).toBe(replica.db.appliedIndex - 1);
  after.close();
  replica.runTimers();
  after = asAfterKill();
  expect(after.appliedIndex).toBe(replica.db.appliedIndex);
  expect(after.appliedEpoch).toBe(1);
  expect(after.module("kv").read({ get: "key", key: "one more" })).toEqual(
    replica.db.module("kv").read({ get: "key", key: "one more" }),
  );
  after.close();
});

test("a replica that applies the log again from what was committed comes to the same state", () => {
  for (let i = 0; i < 40; i++) put(`key${i % 7}`);
  replica.runTimers();
  for (let i = 0; i < 30; i++) put(`key${i % 11}`);
  const after = asAfterKill();
  expect(after.appliedIndex).toBeLessThan(replica.db.appliedIndex);
  for (const record of replica.log.slice(after.appliedIndex)) {
    if (record.kind === recordKinds.level) after.levelRaised(record.module, record.operation[0]!);
    else after.execute(record);
    after.applied(record);
  }
  // The applied index of each is committed.
  after.commit();
  replica.db.commit();
  const digest = replica.db.digest();
  expect(after.digest()).toBe(digest);
  put("other");
  expect(replica.db.digest()).not.toBe(digest);
  after.close();
});

test("an operation that is refused, fails or answers too much leaves nothing, and its record counts as applied", () => {
  expect(run("fine")).toEqual({ ok: true, value: "fine" });
  expect(run("refuse")).toEqual({ ok: false, message: "as asked" });
  expect(run("throw")).toMatchObject({ ok: false, message: expect.stringContaining("defect") });
  expect(replica.defects).toEqual([new TypeError("a defect")]);
  expect(run("large")).toMatchObject({ ok: false });
  expect(replica.db.module("unruly").read(null)).toBe(1);
  expect(replica.failures).toEqual([]);
});

test("operations of a module that is not in force, or not known, are refused, and a question about it is an error", () => {
  const other = replica.record({ module: "files", operation: new Uint8Array(1) });
  expect(decodeResult(replica.apply(other)!)).toMatchObject({ ok: false });
  expect(() => replica.db.module("files")).toThrow('module "files"');
});

test("sessions come back as they were: results, what is acknowledged, who is gone, in their order", () => {
  const { db } = replica;
  const result = (n: number) => new Uint8Array([n, 0, 255]);
  db.sessionChanged({ type: "acked", client: "b", ackedBelow: 1 });
  for (const n of [1, 2, 3])
    db.sessionChanged({ type: "result", client: "b", sequence: n, result: result(n), index: n });
  db.sessionChanged({ type: "acked", client: "b", ackedBelow: 3 });
  db.sessionChanged({ type: "acked", client: "a", ackedBelow: 1 });
  for (const client of ["z", "y", "x"]) db.sessionChanged({ type: "removed", client, forgotten: [] });
  db.sessionChanged({ type: "removed", client: "a", forgotten: ["z"] });
  put("key");
  db.commit();
  const after = asAfterKill();
  const state = after.state();
  after.close();
  expect(state.sessions).toEqual({
    sessions: [{ client: "b", ackedBelow: 3, results: [[3, result(3), 3]] }],
    removed: ["y", "x", "a"],
  });
  expect(state.index).toBe(replica.db.appliedIndex);
  expect(state.levels).toEqual(
    new Map([
      ["kv", kv.level],
      ["unruly", 1],
    ]),
  );
});

test("a record that is not the next one cannot be applied", () => {
  const record = replica.record({ module: "unruly" });
  replica.apply(record);
  expect(() => replica.apply(record)).toThrow("cannot be applied after");
});

test("a checkpoint empties the write-ahead log, unless somebody reads what is in it", () => {
  for (let i = 0; i < 200; i++) put(`key${i}`);
  expect(replica.db.checkpoint()).toBe(0);
  const reader = new DatabaseSync(replica.path, { readOnly: true });
  reader.exec("BEGIN");
  reader.prepare("SELECT count(*) FROM kv_entry").get();
  put("later");
  expect(replica.db.checkpoint()).toBeGreaterThan(0);
  reader.exec("COMMIT");
  expect(replica.db.checkpoint()).toBe(0);
  reader.close();
});

test("a disk that is full is told once, nothing more is applied, and reads go on", () => {
  put("before");
  replica.db.commit();
  const index = replica.db.appliedIndex;
  replica.db.limitPages(0);
  for (let i = 0; i < 200; i++) replica.kv({ op: "put", key: `big${i}`, value: new Uint8Array(100_000) });
  expect(replica.failures).toHaveLength(1);
  expect(replica.db.appliedIndex).toBeGreaterThanOrEqual(index);
  expect(replica.db.appliedIndex).toBeLessThan(index + 200);
  expect(replica.read({ get: "key", key: "before" })).toMatchObject({ entries: [{ key: "before" }] });
  replica.db.close();
  replica.db = replica.open();
  expect(replica.read({ get: "key", key: "before" })).toMatchObject({ entries: [{ key: "before" }] });
});

test("a file of something else is refused", () => {
  const path = join(replica.dir, "other.db");
  const other = new DatabaseSync(path);
  other.exec("CREATE TABLE thing (n INTEGER)");
  other.close();
  expect(() => replica.open(path)).toThrow("something else");
});
