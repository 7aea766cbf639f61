/** The module key-value: what it answers, and that what it answers does not depend on anything but its operations. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { kvHistoryMax, kvLeaseKeysMax } from "../../../core/limits.ts";
import { recordKinds } from "../../../core/replica/record.ts";
import type { KvEntry, KvEvent, KvFound } from "../../../core/state/modules/kv-messages.ts";
import { Random } from "../../sim/harness/random.ts";
import { ReplicaDatabase } from "./replica-database.ts";

let replica: ReplicaDatabase;
beforeEach(() => {
  replica = new ReplicaDatabase();
});
afterEach(() => replica.end());

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const put = (key: string, value: string, more: object = {}) =>
  replica.kv({ op: "put", key, value: text(value), ...more });
const done = (revision: number) => ({ ok: true as const, value: { done: true, revision } });
const notDone = (revision: number) => ({ ok: true as const, value: { done: false, revision } });
const list = (prefix: string, more: object = {}): KvEntry[] =>
  (replica.read({ get: "list", prefix, limit: 1_000, ...more }) as { entries: KvEntry[] }).entries;
const get = (key: string): KvEntry | undefined =>
  (replica.read({ get: "key", key }) as { entries: KvEntry[] }).entries[0];

test("a key has the value and the revision of the record that last changed it", () => {
  expect(put("a", "1")).toEqual(done(2));
  expect(put("a", "2")).toEqual(done(3));
  expect(get("a")).toEqual({ key: "a", value: text("2"), revision: 3 });
  expect(get("b")).toBeUndefined();
});

test("compare-and-set changes a key only at the revision that was named; 0 is a key that is not there", () => {
  expect(put("a", "1", { ifRevision: 0 })).toEqual(done(2));
  expect(put("a", "2", { ifRevision: 0 })).toEqual(notDone(2));
  expect(put("a", "2", { ifRevision: 2 })).toEqual(done(4));
  expect(replica.kv({ op: "delete", key: "a", ifRevision: 2 })).toEqual(notDone(4));
  expect(replica.kv({ op: "delete", key: "a", ifRevision: 4 })).toEqual(done(6));
  expect(replica.kv({ op: "delete", key: "a" })).toEqual(notDone(0));
  expect(put("a", "3", { ifRevision: 4 })).toEqual(notDone(0));
});

test("changes of one operation happen all or none", () => {
  put("a", "1");
  const all = (ifRevision: number) =>
    replica.kv({
      op: "all",
      changes: [
        { op: "put", key: "b", value: text("x") },
        { op: "delete", key: "a", ifRevision },
      ],
    });
  expect(all(1)).toEqual(notDone(2));
  expect(get("b")).toBeUndefined();
  expect(all(2)).toEqual(done(4));
  expect(list("").map(({ key }) => key)).toEqual(["b"]);
});

test("an operation that changes a key twice, or is none, is refused where it enters", () => {
  const twice = ["1", "2"].map((value) => ({ op: "put", key: "a", value: text(value) }));
  expect(() => replica.kv({ op: "all", changes: twice })).toThrow("twice");
  for (const wrong of [
    { op: "put", key: "", value: text("") },
    { op: "put", key: "a".repeat(1_025), value: text("") },
    { op: "put", key: "a", value: "text" },
    { op: "put", key: "\ud800", value: text("") },
    { op: "rename", key: "a" },
    null,
  ]) {
    expect(() => replica.kv(wrong)).toThrow();
  }
});

test("bytes that are no operation are refused when they are applied, the same way everywhere", () => {
  const record = replica.record({ module: "kv", operation: new Uint8Array([0x01]) });
  const before = replica.db.appliedIndex;
  expect(new TextDecoder().decode(replica.apply(record)!)).toContain("no operation");
  expect(replica.db.appliedIndex).toBe(before + 1);
  expect(replica.failures).toEqual([]);
});

test("values and keys of any bytes come back as they were, also empty ones and with NUL", () => {
  for (const value of [new Uint8Array(0), new Uint8Array([0]), new Uint8Array([0, 255, 0])]) {
    expect(replica.kv({ op: "put", key: "k\0é\u{1f600}", value })).toMatchObject({ ok: true });
    expect(get("k\0é\u{1f600}")?.value).toEqual(value);
  }
});

test("a list has the keys with a prefix in the order of their bytes, page by page", () => {
  const keys = ["a", "a/", "a/\u{1f600}", "a/b", "a/é", "a0", "b", "\u{10ffff}", "a/\uffff"];
  for (const key of keys) put(key, key);
  const inOrder = (prefix: string) =>
    keys
      .filter((key) => key.startsWith(prefix))
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const prefix of ["", "a", "a/", "b", "c", "\u{10ffff}"]) {
    expect(list(prefix).map(({ key }) => key)).toEqual(inOrder(prefix));
  }
  const paged: string[] = [];
  for (;;) {
    const page = list("a", { limit: 2, ...(paged.length > 0 && { after: paged.at(-1) }) });
    if (page.length === 0) break;
    paged.push(...page.map(({ key }) => key));
  }
  expect(paged).toEqual(inOrder("a"));
});

test("a list of large values comes in parts that say that there is more", () => {
  for (let i = 0; i < 10; i++)
    replica.kv({ op: "put", key: `key${i}`, value: new Uint8Array(300_000).fill(i) });
  const found: string[] = [];
  for (let parts = 1; ; parts++) {
    const after = found.at(-1) ?? "";
    const part = replica.read({ get: "list", prefix: "key", after, limit: 1_000 }) as KvFound;
    found.push(...part.entries.map(({ key }) => key));
    if (part.more) continue;
    expect(parts).toBe(4);
    break;
  }
  expect(found).toEqual(Array.from({ length: 10 }, (_, i) => `key${i}`));
});

test("a lease that is kept goes on; one that is not takes its keys along, by the time of records", () => {
  const lease = "one";
  expect(replica.kv({ op: "grant", lease, ttlMs: 2_000 })).toMatchObject({ value: { done: true } });
  expect(replica.kv({ op: "grant", lease, ttlMs: 9_000 })).toMatchObject({ value: { done: false } });
  put("a", "1", { lease });
  put("b", "1");
  replica.timeMs += 1_999;
  expect(replica.db.module("kv").due!(replica.timeMs)).toBeNull();
  expect(replica.kv({ op: "keep", lease })).toMatchObject({ value: { done: true } });
  replica.timeMs += 1_999;
  expect(replica.kv({ op: "expire" })).toMatchObject({ value: { done: false } });
  replica.timeMs += 1;
  // Its time is up: it can do nothing more, and its keys go with the next expiry.
  expect(replica.kv({ op: "keep", lease })).toMatchObject({ value: { done: false } });
  expect(put("c", "1", { lease })).toMatchObject({ value: { done: false } });
  expect(get("a")).toBeDefined();
  expect(replica.db.module("kv").due!(replica.timeMs)).not.toBeNull();
  expect(replica.kv({ op: "expire" })).toMatchObject({ value: { done: true } });
  expect(list("").map(({ key }) => key)).toEqual(["b"]);
  expect(replica.db.module("kv").due!(replica.timeMs)).toBeNull();
});

test("after a takeover a lease gets its full time again, however far the clocks of both machines differ", () => {
  replica.kv({ op: "grant", lease: "one", ttlMs: 2_000 });
  replica.timeMs += 1_000_000;
  replica.epoch++;
  replica.apply(replica.record({ kind: recordKinds.epochStart }));
  replica.timeMs += 1_999;
  expect(replica.kv({ op: "expire" })).toMatchObject({ value: { done: false } });
  replica.timeMs += 1;
  expect(replica.kv({ op: "expire" })).toMatchObject({ value: { done: true } });
});

test("a key that is put again without its lease no longer goes with it; revoking ends a lease at once", () => {
  replica.kv({ op: "grant", lease: "one", ttlMs: 2_000 });
  put("a", "1", { lease: "one" });
  put("b", "1", { lease: "one" });
  put("a", "2");
  expect(get("b")?.lease).toBe("one");
  expect(replica.kv({ op: "revoke", lease: "one" })).toMatchObject({ value: { done: true } });
  expect(list("").map(({ key }) => key)).toEqual(["a"]);
});

test("a lease holds a bounded number of keys, and what would be too many is undone", () => {
  replica.kv({ op: "grant", lease: "one", ttlMs: 2_000 });
  for (let i = 0; i < kvLeaseKeysMax; i++) put(`key${i}`, "", { lease: "one" });
  put("other", "1");
  expect(put("other", "2", { lease: "one" })).toMatchObject({ ok: false });
  expect(get("other")?.value).toEqual(text("1"));
  replica.timeMs += 2_000;
  replica.kv({ op: "expire" });
  expect(list("")).toHaveLength(1);
});

test("a watch gives each record's changes with a prefix once, in order, and the past where it is kept", () => {
  const follow = (query: object) => replica.db.module("kv").follow!(query);
  put("a/1", "x");
  const fromNow = follow({ prefix: "a/" });
  const fromStart = follow({ prefix: "a/", after: 0 });
  put("b", "x");
  replica.kv({
    op: "all",
    changes: [
      { op: "put", key: "a/2", value: text("y") },
      { op: "put", key: "c", value: text("y") },
      { op: "delete", key: "a/1" },
    ],
  });
  const second = {
    revision: 4,
    changes: [
      { key: "a/2", value: text("y") },
      { key: "a/1", value: null },
    ],
  };
  expect(fromNow.next(10) as KvEvent[]).toEqual([second]);
  expect(fromNow.next(10)).toEqual([]);
  expect(fromStart.next(1) as KvEvent[]).toEqual([
    { revision: 2, changes: [{ key: "a/1", value: text("x") }] },
  ]);
  expect(fromStart.next(1) as KvEvent[]).toEqual([second]);
  put("a/2", "z");
  expect(fromStart.next(10)).toHaveLength(1);
  expect(fromNow.next(10)).toHaveLength(1);
});

test("leases that end with one record are one event, also while old changes are being forgotten", () => {
  for (let i = 0; i < kvHistoryMax; i++) put("filler", "");
  for (const lease of ["one", "two", "three"]) {
    replica.kv({ op: "grant", lease, ttlMs: 1_000 });
    for (let i = 0; i < 200; i++) put(`${lease}/${i}`, "", { lease });
  }
  const follower = replica.db.module("kv").follow!({ prefix: "" });
  replica.timeMs += 1_000;
  replica.kv({ op: "expire" });
  const events = follower.next(10) as KvEvent[];
  expect(events.map(({ changes }) => changes.length)).toEqual([600]);
  expect(new Set(events[0]!.changes.map(({ key }) => key)).size).toBe(600);
});

test("a watch whose changes have been forgotten says so, and one that keeps up misses none", () => {
  const follower = replica.db.module("kv").follow!({ prefix: "a", after: 0 });
  const slow = replica.db.module("kv").follow!({ prefix: "", after: 0 });
  let seen = 0;
  const count = kvHistoryMax + 1_000;
  for (let i = 0; i < count; i++) {
    put(i % 100 === 0 ? "a" : "b", String(i));
    if (i % 500 === 0) seen += follower.next(1_000).length;
  }
  seen += follower.next(1_000).length;
  expect(seen).toBe(Math.ceil(count / 100));
  expect(() => slow.next(1)).toThrow("no longer kept");
  expect(() => replica.db.module("kv").follow!({ prefix: "", after: 5 })).toThrow("no longer kept");
  expect(slow).toBeDefined();
});

test("a reference model and the module agree over random operations, leases and time", () => {
  const random = new Random(11);
  const model = new Map<string, { value: string; revision: number; lease?: string }>();
  const leases = new Map<string, { ttlMs: number; ends: number }>();
  const alive = (lease: string) => (leases.get(lease)?.ends ?? 0) > replica.timeMs;
  for (let i = 0; i < 3_000; i++) {
    const key = random.pick(["a", "b", "c", "ab"]);
    const lease = random.pick(["l1", "l2"]);
    const index = replica.db.appliedIndex + 1;
    const revision = model.get(key)?.revision ?? 0;
    const ifRevision = random.chance(0.5) ? { ifRevision: random.pick([revision, 0, 3]) } : {};
    const fits = ifRevision.ifRevision === undefined || ifRevision.ifRevision === revision;
    const what = random.float();
    if (what < 0.4) {
      const its = random.chance(0.3) ? { lease } : {};
      const happens = fits && (its.lease === undefined || alive(lease));
      expect(put(key, String(i), { ...ifRevision, ...its })).toEqual(
        happens ? done(index) : notDone(revision),
      );
      if (happens) model.set(key, { value: String(i), revision: index, ...its });
    } else if (what < 0.6) {
      const happens = fits && revision > 0;
      expect(replica.kv({ op: "delete", key, ...ifRevision })).toEqual(
        happens ? done(index) : notDone(revision),
      );
      if (happens) model.delete(key);
    } else if (what < 0.7) {
      replica.kv({ op: "grant", lease, ttlMs: 1_000 });
      if (!leases.has(lease)) leases.set(lease, { ttlMs: 1_000, ends: replica.timeMs + 1_000 });
    } else if (what < 0.8) {
      replica.kv({ op: "keep", lease });
      if (alive(lease)) leases.get(lease)!.ends = replica.timeMs + leases.get(lease)!.ttlMs;
    } else if (what < 0.9) {
      replica.kv({ op: "expire" });
      for (const [name, { ends }] of leases) {
        if (ends > replica.timeMs) continue;
        leases.delete(name);
        for (const [each, entry] of model) if (entry.lease === name) model.delete(each);
      }
    } else replica.timeMs += random.integer(0, 900);
    const wanted = [...model].sort(([a], [b]) => (a < b ? -1 : 1));
    expect(list("")).toEqual(
      wanted.map(([name, { value, ...rest }]) => ({ key: name, value: text(value), ...rest })),
    );
  }
});

test("a state does not depend on when it was looked at or committed: on each level, when old changes go, too", () => {
  for (const level of [1, 2]) {
    for (const [many, bytes] of [
      [kvHistoryMax + 700, 10],
      [100, 300 * 1_024],
    ] as const) {
      const others = [new ReplicaDatabase(), new ReplicaDatabase()];
      try {
        const random = new Random(level);
        const raised = { kind: recordKinds.level, module: "kv", operation: new Uint8Array([level]) };
        for (const other of others) other.apply(other.record(raised));
        for (let i = 0; i < many; i++) {
          const key = `key-${random.integer(0, 49)}`;
          const value = new Uint8Array(bytes).fill(i);
          const kind = random.integer(0, 19);
          const operation =
            kind === 0
              ? { op: "delete", key }
              : kind === 1
                ? { op: "put", key, value, ifRevision: random.integer(0, 999) }
                : { op: "put", key, value };
          const [one, two] = others.map((other) => JSON.stringify(other.kv(operation)));
          if (one !== two) throw new Error(`${one} and ${two}`);
          if (random.integer(0, 99) === 0) others[1]!.db.commit();
          if (random.integer(0, 49) === 0) others[1]!.read({ get: "key", key });
        }
        for (const other of others) other.db.commit();
        expect(others[1]!.db.digest()).toBe(others[0]!.db.digest());
        expect(others.flatMap(({ failures, defects }) => [...failures, ...defects])).toEqual([]);
      } finally {
        for (const other of others) other.end();
      }
    }
  }
});

test("who follows hears of what is not yet in the tables", () => {
  const follower = replica.db.module("kv").follow!({ prefix: "" });
  put("a", "1");
  put("b", "2");
  expect(follower.next(10)).toEqual([
    { revision: 2, changes: [{ key: "a", value: text("1") }] },
    { revision: 3, changes: [{ key: "b", value: text("2") }] },
  ]);
  put("c", "3");
  expect(follower.next(10)).toEqual([{ revision: 4, changes: [{ key: "c", value: text("3") }] }]);
});
