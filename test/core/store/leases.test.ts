import { expect, test } from "bun:test";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
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
