import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import { FakeAgent } from "./fake-agent.ts";
import { FaultyStore } from "./faulty-store.ts";
import { codeOf, failure, hello, Lab, until } from "./lab.ts";

setDefaultTimeout(30_000);

let lab: Lab;
let store: FaultyStore;
afterEach(() => lab.close());

async function start(): Promise<void> {
  store = new FaultyStore(openMemoryStore());
  lab = await Lab.start({ openStore: () => Promise.resolve(store) });
}

const ofController = (txn: { if: { key: string }[] }) => txn.if[0]?.key === "/c/leader";

test("what the store refuses is told with its own code, and nothing is done", async () => {
  await start();
  store.txns = "UNAVAILABLE";
  expect(await codeOf(lab.api.instances.create(hello("a")))).toBe("UNAVAILABLE");
  store.txns = "NO_SPACE";
  const full = await failure(lab.api.instances.create(hello("a")));
  expect([full.code, full.status, full.exit]).toEqual(["EXHAUSTED", 507, 9]);
  store.reads = "UNAVAILABLE";
  expect(await codeOf(lab.api.instances.list())).toBe("UNAVAILABLE");
  store.reads = store.txns = null;
  expect(await lab.api.instances.list()).toEqual([]);
});

test("a change whose answer was lost is found to have been made, once", async () => {
  await start();
  store.which = (txn) => !ofController(txn);
  store.lostAnswers = 1;
  const created = await lab.api.instances.create(hello("a"));
  expect((await lab.api.instances.list()).map((i) => i.uid)).toEqual([created.uid]);
  store.lostAnswers = 1;
  const { id } = await lab.api.tokens.create({ kind: "join" });
  expect((await lab.api.tokens.list()).filter((t) => t.id === id)).toHaveLength(1);
});

test("the controller goes on after every kind of failure, and says once that something is wrong", async () => {
  await start();
  await (await FakeAgent.join(lab, "n1")).run();
  for (const code of ["UNAVAILABLE", "NO_SPACE", "UNKNOWN_OUTCOME"] as const) {
    const name = `i-${code.toLowerCase().replace("_", "-")}`;
    lab.log.length = 0;
    store.which = ofController;
    store.txns = code;
    await lab.api.instances.create(hello(name));
    const before = store.txnCount;
    // It asks again, and again.
    await until(() => store.txnCount > before + 1);
    expect((await lab.api.instances.get(name)).phase).toBe("pending");
    expect(lab.log.filter((line) => line.includes("told to fail"))).toHaveLength(1);
    store.txns = null;
    await until(async () => (await lab.api.instances.get(name)).phase === "running");
    expect(lab.log.some((line) => line.includes("answers again"))).toBe(true);
  }
});

test("answers that the controller loses are settled by what the watch shows", async () => {
  await start();
  await (await FakeAgent.join(lab, "n1")).run();
  store.lostAnswers = 3;
  await lab.api.instances.create(hello("a"));
  await until(async () => (await lab.api.instances.get("a")).phase === "running");
});

test("nodes stay up while the store does not answer: heartbeats do not ask it", async () => {
  await start();
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  store.reads = store.txns = "UNAVAILABLE";
  // Longer than a node may be silent.
  const until = performance.now() + 2_600;
  while (performance.now() < until) {
    expect(await agent.beat()).toMatchObject({ reportWanted: false });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  store.reads = store.txns = null;
  expect((await lab.api.nodes.get("n1")).state).toBe("up");
  for await (const event of lab.api.events()) expect(event.reason).not.toBe("Down");
});

test("a change is answered when the controller has seen it: what was written is then read", async () => {
  await start();
  const held = Promise.withResolvers<void>();
  store.held = held.promise;
  let answered = false;
  const created = lab.api.instances.create(hello("a")).then((view) => {
    answered = true;
    return view;
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(answered).toBe(false);
  store.held = null;
  held.resolve();
  expect((await created).name).toBe("a");
});

test("a watch whose history was forgotten begins anew with what is; also one that only broke", async () => {
  await start();
  await (await FakeAgent.join(lab, "n1")).run();
  for (const [i, code] of (["COMPACTED", "UNAVAILABLE"] as const).entries()) {
    store.watchFails = code;
    await lab.api.instances.create(hello(`i${i}`));
    await until(async () => (await lab.api.instances.get(`i${i}`)).phase === "running");
  }
});

test("a node that was removed while the watch was broken is told so all the same", async () => {
  await start();
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  store.watchFails = "COMPACTED";
  await lab.api.nodes.remove("n1", true);
  await agent.told("removed");
});
