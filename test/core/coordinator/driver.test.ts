import { afterEach, expect, test } from "bun:test";
import type { Desired } from "../../../core/agent-protocol.ts";
import type { ControlEffect, Controller, ControlEvent } from "../../../core/control/controller.ts";
import { Driver, type DriverOptions } from "../../../core/coordinator/driver.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import type { Compare } from "../../../core/store/store.ts";
import { FaultyStore } from "./faulty-store.ts";
import { failure, until } from "./lab.ts";

const leader: Compare = { key: "/c/leader", target: "create", op: "=", value: 0 };
const desired: Desired = {
  clusterId: "c",
  storeGeneration: 1,
  revision: 1,
  node: { id: "n-1", name: "n1", address: "127.0.0.1" },
  containers: [],
  replicas: [],
  routes: [],
};

let driver: Driver;
afterEach(() => driver.close());

interface World {
  store: FaultyStore;
  events: ControlEvent[];
  ends: string[];
  told: string[];
  log: string[];
}

/** A driver of a controller that answers each event with what `react` says. */
function drive(react: (event: ControlEvent) => ControlEffect[], options: Partial<DriverOptions> = {}): World {
  const world: World = { store: new FaultyStore(openMemoryStore()), events: [], ends: [], told: [], log: [] };
  const controller = {
    step(event: ControlEvent) {
      world.events.push(event);
      return react(event);
    },
    desiredFor: () => desired,
  };
  driver = new Driver({
    store: world.store,
    storeGeneration: 1,
    controller: controller as unknown as Controller,
    leader,
    mayOrder: () => true,
    onDesired: (node) => world.told.push(node),
    onReplicas: () => undefined,
    onNodeRemoved: () => undefined,
    onEnd: (reason) => world.ends.push(reason),
    log: (_, message) => world.log.push(message),
    ...options,
  });
  return world;
}

const put = (key: string) => ({ if: [], then: [{ type: "put" as const, key, value: "v" }] });

test("orders wait while another coordinator may be acting, and go out as they are by then", async () => {
  let mayOrder = false;
  const world = drive((e) => (e.type === "snapshot" ? [{ type: "desired", node: "n-1", desired }] : []), {
    mayOrder: () => mayOrder,
  });
  await driver.start();
  expect(driver.desiredFor("n-2")).toBeNull();
  const ticks = () => world.events.filter((e) => e.type === "tick").length;
  await until(() => ticks() >= 2);
  expect(world.told).toEqual([]);
  mayOrder = true;
  await until(() => world.told.length === 2);
  expect(world.told.sort()).toEqual(["n-1", "n-2"]);
  const before = ticks();
  await until(() => ticks() > before + 1);
  expect(world.told).toHaveLength(2);
});

test("a transaction after which another leads changes nothing and ends everything", async () => {
  const world = drive((e) =>
    e.type === "snapshot" ? [{ type: "txn", id: "t", kind: "event", txn: put("/ev/1") }] : [],
  );
  await world.store.txn(put("/c/leader"));
  await driver.start();
  await until(() => world.ends.length > 0);
  expect(world.ends).toEqual(["another coordinator has taken over"]);
  expect(await world.store.get("/ev/1")).toBeNull();
  const { length } = world.events;
  driver.step({ type: "tick", nowMs: 0, wallMs: 0, lagMs: 0 });
  await new Promise((resolve) => setTimeout(resolve, 250));
  expect(world.events).toHaveLength(length);
});

test("a controller that throws ends everything, with where it happened in the log", async () => {
  const world = drive((e) => {
    if (e.type === "tick") throw new TypeError("half-way");
    return [];
  });
  await driver.start();
  await until(() => world.ends.length > 0);
  expect(world.ends).toEqual(["its controller failed"]);
  expect(world.log[0]).toContain("the controller failed at tick: TypeError: half-way");
  expect(world.events.filter((e) => e.type === "tick")).toHaveLength(1);
});

test("a store that does not answer at the start is waited for", async () => {
  const world = drive(() => []);
  world.store.reads = "UNAVAILABLE";
  const started = driver.start();
  await until(() => world.log.length > 0);
  expect(world.events.map((e) => e.type)).toEqual(["start"]);
  world.store.reads = null;
  await started;
  expect(world.events[1]).toMatchObject({ type: "snapshot" });
});

test("a store that keeps its watch waiting is told as TIMEOUT, since the change is made", async () => {
  drive(() => [], { seenTimeoutMs: 20 });
  await driver.start();
  const e = await failure(driver.seen(1_000));
  expect([e.code, e.message]).toEqual(["TIMEOUT", expect.stringContaining("The change is stored")]);
});

test("closing ends a start that waits, and whoever waits for a revision", async () => {
  const world = drive(() => []);
  world.store.reads = "UNAVAILABLE";
  const started = driver.start();
  const seen = driver.seen(1_000);
  await until(() => world.log.length > 0);
  driver.close();
  await started;
  await seen;
});

test("every transaction is answered exactly once, and gets the leader's compare first", async () => {
  const world = drive((e) =>
    e.type === "snapshot"
      ? ["a", "b"].map((id) => ({ type: "txn" as const, id, kind: "event" as const, txn: put(`/ev/${id}`) }))
      : [],
  );
  await driver.start();
  const done = () => world.events.flatMap((e) => (e.type === "txnDone" ? [[e.id, e.outcome]] : []));
  await until(() => done().length >= 2);
  await until(() => world.events.filter((e) => e.type === "tick").length > 0);
  expect(done()).toEqual([
    ["a", "applied"],
    ["b", "applied"],
  ]);
});
