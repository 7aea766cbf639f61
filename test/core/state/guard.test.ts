import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { BootClock } from "../../../core/state/boot-clock.ts";
import { bucketsOf } from "../../../core/state/buckets.ts";
import { LocalReader } from "../../../core/state/client/local-reader.ts";
import { StateDatabase } from "../../../core/state/database.ts";
import { Guard, guardLink, guardMarginMs, GuardReader, voidGuard } from "../../../core/state/guard.ts";
import type { StateModule } from "../../../core/state/module.ts";
import { kv } from "../../../core/state/modules/kv.ts";
import { RecordEncoder, recordKinds } from "../../../core/replica/record.ts";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0).reverse()) clean();
});

function runDir(): string {
  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
function guarded(databasePath = "/nowhere"): { guard: Guard; dir: string; reader: GuardReader } {
  const dir = runDir();
  const guard = new Guard(dir, databasePath);
  cleanups.push(() => guard.close());
  const reader = GuardReader.open(dir)!;
  cleanups.push(() => reader.close());
  return { guard, dir, reader };
}
const at = (nowMs: number) => ({ nowMs: () => nowMs });

test("nothing is read without a lease, nor at its end", () => {
  const { guard, reader } = guarded();
  expect(reader.isClean(at(0), [1])).toBe(false);
  guard.setDeadline(1_000);
  expect(reader.isClean(at(1_000 - guardMarginMs - 1), [1])).toBe(true);
  expect(reader.isClean(at(1_000 - guardMarginMs), [1])).toBe(false);
  guard.setDeadline(-Infinity);
  expect(reader.isClean(at(1), [1])).toBe(false);
});

test("a bucket is dirty from the prepare of a record until it is in the database", () => {
  const { guard, reader } = guarded();
  guard.setDeadline(1_000);
  guard.prepared(5, [7]);
  guard.flush();
  expect(reader.isClean(at(1), [7])).toBe(false);
  expect(reader.isClean(at(1), [8, 7])).toBe(false);
  expect(reader.isClean(at(1), [8])).toBe(true);
  guard.prepared(6, [7]);
  guard.flush();
  guard.committed(5);
  expect(reader.isClean(at(1), [7])).toBe(false);
  guard.committed(6);
  expect(reader.isClean(at(1), [7])).toBe(true);
});

test("a record that may touch anything makes every bucket dirty", () => {
  const { guard, reader } = guarded();
  guard.setDeadline(1_000);
  guard.prepared(3, null);
  guard.flush();
  for (const bucket of [0, 1_000, 4_095]) expect(reader.isClean(at(1), [bucket])).toBe(false);
  guard.committed(3);
  for (const bucket of [0, 1_000, 4_095]) expect(reader.isClean(at(1), [bucket])).toBe(true);
});

test("records that were cut off do not leave their buckets dirty for ever", () => {
  const { guard, reader } = guarded();
  guard.setDeadline(1_000);
  guard.committed(4);
  guard.prepared(5, [1]);
  guard.flush();
  guard.prepared(6, [2]);
  guard.flush();
  guard.truncatedAfter(4);
  expect(reader.isClean(at(1), [1, 2])).toBe(true);
});

test("the time is looked at after the buckets: a pause between the two is seen", () => {
  const { guard, reader } = guarded();
  guard.setDeadline(1_000);
  const pausing = {
    nowMs() {
      // While this host process was stopped, another replica took over.
      guard.setDeadline(-Infinity);
      return 1_000;
    },
  };
  expect(reader.isClean(pausing, [1])).toBe(false);
});

test("whoever certifies the end of a killed state process voids its guard, also for readers that have it open", () => {
  const { guard, dir, reader } = guarded();
  guard.setDeadline(1_000);
  voidGuard(dir);
  expect(reader.isClean(at(1), [1])).toBe(false);
  expect(reader.isVoid).toBe(true);
  expect(existsSync(guardLink(dir))).toBe(false);
  expect(GuardReader.open(dir)).toBeNull();
  voidGuard(dir);
});

test("another state process, or another database, has another life", () => {
  const { guard, dir, reader } = guarded();
  guard.reopened();
  expect(reader.isVoid).toBe(true);
  const next = new Guard(dir, "/elsewhere");
  cleanups.push(() => next.close());
  next.setDeadline(1_000);
  expect(reader.isClean(at(1), [1])).toBe(false);
  const again = GuardReader.open(dir)!;
  cleanups.push(() => again.close());
  expect(again.databasePath).toBe("/elsewhere");
  expect(again.isClean(at(1), [1])).toBe(true);
});

test("a reader has what was committed, and asks elsewhere while something is under way", () => {
  const path = join(runDir(), "state.db");
  let committed = 0;
  const database = new StateDatabase({
    path,
    modules: [kv],
    after: () => undefined,
    committed: (index) => (committed = index),
    failed: (e) => {
      throw e;
    },
  });
  cleanups.push(() => database.close());
  const { guard, dir } = guarded(path);
  guard.setDeadline(new BootClock().nowMs() + 60_000);
  const encoder = new RecordEncoder();
  let index = 0;
  const apply = (kind: 1 | 3, operation: Uint8Array) => {
    const fields = { epoch: 1, index: ++index, kind, timeMs: 1, random: new Uint8Array(16) };
    const record = encoder.encode({
      ...fields,
      client: "",
      sequence: 0,
      ackedBelow: 0,
      module: "kv",
      operation,
    });
    if (kind === recordKinds.level) database.levelRaised("kv", 1);
    else database.execute(record);
    database.applied(record);
  };
  const module = database.module("kv");
  const put = (value: number) => module.encode({ op: "put", key: "a", value: new Uint8Array([value]) });
  apply(recordKinds.level, new Uint8Array([1]));
  apply(recordKinds.operation, put(1));
  database.commit();
  const reader = new LocalReader(dir, [kv]);
  cleanups.push(() => reader.close());
  const valueOf = () => {
    const found = reader.read("kv", { get: "key", key: "a" });
    return found && (found.value as { entries: { value: Uint8Array }[] }).entries[0]!.value[0];
  };
  expect(valueOf()).toBe(1);
  guard.prepared(3, bucketsOf(module.touched(put(2))!));
  guard.flush();
  expect(valueOf()).toBeNull();
  apply(recordKinds.operation, put(2));
  expect(valueOf()).toBeNull();
  database.commit();
  expect(committed).toBe(3);
  guard.committed(committed);
  expect(valueOf()).toBe(2);
  voidGuard(dir);
  expect(valueOf()).toBeNull();
});

test("an answer that took several looks at the database is given only where nothing came in between", () => {
  const path = join(runDir(), "state.db");
  new DatabaseSync(path).close();
  const { guard, dir } = guarded(path);
  guard.setDeadline(new BootClock().nowMs() + 60_000);
  let between: () => void = () => undefined;
  const module = {
    keysOf: () => ["a"],
    read: () => {
      between();
      return "found";
    },
  };
  const two = { name: "two", open: () => module } as unknown as StateModule;
  const reader = new LocalReader(dir, [two]);
  cleanups.push(() => reader.close());
  expect(reader.read("two", "query")).toEqual({ value: "found" });
  between = () => {
    guard.prepared(3, bucketsOf(["b"]));
    guard.flush();
  };
  expect(reader.read("two", "query")).toEqual({ value: "found" });
  between = () => {
    guard.prepared(4, bucketsOf(["a"]));
    guard.flush();
    guard.committed(4);
  };
  expect(reader.read("two", "query")).toBeNull();
});

test("the clock goes on through a suspend, which the runtime's own does not see, and never back", () => {
  let monotonic = 1_000;
  let boot = 50_003;
  const clock = new BootClock(
    () => monotonic,
    () => boot,
  );
  const first = clock.nowMs();
  monotonic += 500;
  boot += 495;
  expect(clock.nowMs()).toBe(first + 500);
  boot += 60_000;
  monotonic += 2;
  expect(clock.nowMs()).toBeGreaterThan(first + 60_000);
  const after = clock.nowMs();
  boot -= 5_000;
  monotonic += 10;
  expect(clock.nowMs()).toBe(after + 10);
});
