import { expect, test } from "bun:test";
import { LocalStore } from "../../../core/store/local/local-store.ts";
import { MemoryTable } from "../../../core/store/memory/memory-table.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import { StoreError } from "../../../core/store/store.ts";
import { ManualClock } from "./manual-clock.ts";
import { put, rejects } from "./store-suite.ts";

function open() {
  const clock = new ManualClock();
  return { clock, store: openMemoryStore({ clock }) };
}

test("a lease ends at its deadline and not a millisecond before", async () => {
  const { clock, store } = open();
  await put(store, "/k", "1", await store.grant(2));
  await clock.advance(1_999);
  expect(await store.get("/k")).not.toBeNull();
  await clock.advance(1);
  expect(await store.get("/k")).toBeNull();
});

test("each lease has its own deadline, however they were granted and renewed", async () => {
  const { clock, store } = open();
  const [long, short, renewed] = [await store.grant(10), await store.grant(3), await store.grant(3)];
  for (const [key, lease] of Object.entries({ long, short, renewed }))
    await put(store, `/${key}`, "1", lease);
  const alive = async () => (await store.range("/")).kvs.map((kv) => kv.key);
  await clock.advance(2_000);
  await store.keepAlive(renewed);
  await clock.advance(1_000);
  expect(await alive()).toEqual(["/long", "/renewed"]);
  await clock.advance(1_999);
  expect(await alive()).toEqual(["/long", "/renewed"]);
  await clock.advance(1);
  expect(await alive()).toEqual(["/long"]);
  await clock.advance(5_000);
  expect(await alive()).toEqual([]);
  await rejects(store.keepAlive(renewed), "LEASE_NOT_FOUND");
});

test("a process that stood still gives every lease its whole time again", async () => {
  const { clock, store } = open();
  await put(store, "/k", "1", await store.grant(2));
  await clock.standStill(60_000);
  await clock.advance(1_999);
  expect(await store.get("/k")).not.toBeNull();
  await clock.advance(1);
  expect(await store.get("/k")).toBeNull();
});

test("a renewal that comes between the deadline and the removal keeps the lease", async () => {
  const clock = new ManualClock();
  const commits: (() => void)[] = [];
  const store = new LocalStore(new MemoryTable(), { clock, schedule: (commit) => void commits.push(commit) });
  const commit = async <T>(pending: Promise<T>) => {
    for (const run of commits.splice(0)) run();
    return pending;
  };
  const lease = await commit(store.grant(2));
  await commit(put(store, "/k", "1", lease));
  await clock.advance(2_000);
  expect(commits).toHaveLength(1);
  await store.keepAlive(lease);
  await commit(clock.advance(0));
  expect(await store.get("/k")).not.toBeNull();
  await clock.advance(2_000);
  await commit(clock.advance(0));
  expect(await store.get("/k")).toBeNull();
});

class FullTable extends MemoryTable {
  full = false;
  override atomically(writer: () => void): void {
    if (this.full) throw new StoreError("NO_SPACE", "full");
    super.atomically(writer);
  }
}

test("a lease whose removal fails is removed later", async () => {
  const clock = new ManualClock();
  const table = new FullTable();
  const store = new LocalStore(table, { clock, schedule: (commit) => commit() });
  await put(store, "/k", "1", await store.grant(2));
  table.full = true;
  await clock.advance(5_000);
  expect(await store.get("/k")).not.toBeNull();
  table.full = false;
  await clock.advance(1_000);
  expect(await store.get("/k")).toBeNull();
});

test("a lease of months does not overflow the timer", async () => {
  const { clock, store } = open();
  const days = 24 * 60 * 60;
  await put(store, "/k", "1", await store.grant(100 * days));
  await clock.advance(99 * days * 1_000);
  expect(await store.get("/k")).not.toBeNull();
  await clock.advance(days * 1_000);
  expect(await store.get("/k")).toBeNull();
});

test("the memory store sets no timers of its own", async () => {
  const { clock, store } = open();
  const real = globalThis.setTimeout;
  let timers = 0;
  globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => {
    timers += 1;
    return real(...args);
  }) as typeof setTimeout;
  try {
    const lease = await store.grant(2);
    await put(store, "/k", "1", lease);
    await store.keepAlive(lease);
    await store.revoke(lease);
  } finally {
    globalThis.setTimeout = real;
  }
  expect(timers).toBe(0);
  expect(clock.now()).toBe(1_000);
});
