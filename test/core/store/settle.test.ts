/** settleTxn over a store that loses answers: what it says about a transaction is what became of it. */
import { expect, test } from "bun:test";
import { settleTxn } from "../../../core/store/settle.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import { StoreError, type Store, type Txn } from "../../../core/store/store.ts";
import { ManualClock } from "./manual-clock.ts";
import { absent, deleteOp, put, putOp, remove, rejects } from "./store-suite.ts";

/** How a transaction's answer is lost: after it was applied, before, or so that it is applied `late`. */
type Loss = "applied" | "dropped" | "late" | "unavailable";

function open(losses: Loss[]) {
  const clock = new ManualClock();
  const real = openMemoryStore({ clock });
  const late: Txn[] = [];
  let runs = 0;
  /** Runs between the loss and the next attempt. */
  const hooks: { meanwhile?: () => Promise<unknown> } = {};
  const store: Store = Object.assign(Object.create(real) as Store, {
    get: (key: string) => real.get(key),
    range: real.range.bind(real),
    async txn(txn: Txn) {
      runs += 1;
      const loss = losses.shift();
      if (!loss) return real.txn(txn);
      if (loss === "unavailable") throw new StoreError("UNAVAILABLE", "nobody there");
      if (loss === "applied") await real.txn(txn);
      if (loss === "late") late.push(txn);
      await hooks.meanwhile?.();
      throw new StoreError("UNKNOWN_OUTCOME", "lost");
    },
  });
  const settle = async (txn: Txn) => {
    const result = settleTxn(store, txn, { clock, timeoutMs: 5_000 });
    result.catch(() => undefined);
    // More than it may take.
    for (let i = 0; i < 100; i += 1) await clock.advance(100);
    return result;
  };
  return { real, hooks, settle, late, runs: () => runs };
}

const create: Txn = { if: [absent("/a")], then: [putOp("/a", "mine"), putOp("/b", "mine")] };

test("applied, answer lost: succeeded, with the revision of the copy that was applied", async () => {
  const { real, settle, hooks } = open(["applied"]);
  hooks.meanwhile = () => put(real, "/elsewhere", "x");
  const result = await settle(create);
  expect(result).toEqual({
    succeeded: true,
    revision: (await real.get("/a"))!.modRevision,
    results: [null, null],
  });
  expect((await real.get("/a"))!.version).toBe(1);
});

test("not applied, answer lost: the next copy is applied", async () => {
  const { real, settle, runs } = open(["dropped", "dropped"]);
  expect((await settle(create)).succeeded).toBe(true);
  expect(runs()).toBe(3);
  expect((await real.get("/a"))!.version).toBe(1);
});

test("applied and then overwritten by somebody else: succeeded, as history shows", async () => {
  const { real, settle, hooks } = open(["applied"]);
  hooks.meanwhile = async () => {
    await put(real, "/a", "theirs");
    await put(real, "/a", "theirs too");
  };
  const result = await settle(create);
  expect(result.succeeded).toBe(true);
  expect((await real.range("/a", { revision: result.revision })).kvs[0]!.value).toBe("mine");
  expect((await real.get("/a"))!.value).toBe("theirs too");
});

test("not applied, and somebody else came first: not succeeded", async () => {
  const { real, settle, hooks } = open(["dropped"]);
  hooks.meanwhile = () => put(real, "/a", "theirs");
  expect((await settle(create)).succeeded).toBe(false);
  expect(await real.get("/b")).toBeNull();
});

test("part of what it puts being there is not it", async () => {
  const { real, settle, hooks } = open(["dropped"]);
  hooks.meanwhile = async () => {
    await put(real, "/b", "mine");
    await put(real, "/a", "mine");
  };
  expect((await settle(create)).succeeded).toBe(false);
});

test("a copy that arrives late changes nothing any more", async () => {
  const { real, settle, late } = open(["late"]);
  const { revision } = await put(real, "/n", "1");
  const raise: Txn = {
    if: [{ key: "/n", target: "mod", op: "=", value: revision }],
    then: [putOp("/n", "2")],
  };
  expect((await settle(raise)).succeeded).toBe(true);
  expect((await real.txn(late[0]!)).succeeded).toBe(false);
  expect((await real.get("/n"))!.version).toBe(2);
});

test("a deletion whose answer was lost has succeeded when all is gone", async () => {
  const { real, settle } = open(["applied"]);
  const { revision } = await put(real, "/a", "1");
  const result = await settle({
    if: [{ key: "/a", target: "mod", op: "=", value: revision }],
    then: [deleteOp("/a"), deleteOp("/b"), { type: "get", key: "/c" }],
  });
  expect(result).toMatchObject({ succeeded: true, results: [null, null, null] });
  const other = open(["dropped"]);
  const a = await put(other.real, "/a", "1");
  await put(other.real, "/a", "2");
  const failed = await other.settle({
    if: [{ key: "/a", target: "mod", op: "=", value: a.revision }],
    then: [deleteOp("/a")],
  });
  expect(failed.succeeded).toBe(false);
  await remove(other.real, "/a");
});

test("what a refused transaction reads in `else` is handed on", async () => {
  const { real, settle, hooks } = open(["dropped"]);
  hooks.meanwhile = () => put(real, "/a", "theirs");
  const result = await settle({ ...create, else: [{ type: "get", key: "/a" }] });
  expect(result.results[0]!.value).toBe("theirs");
});

test("gives up after a bounded time, and says that the outcome is unknown", async () => {
  const { settle, runs } = open(["applied", ...Array.from({ length: 1_000 }, () => "unavailable" as const)]);
  const error = await rejects(settle(create), "UNKNOWN_OUTCOME");
  expect(error.message).toContain("did not tell for 5000 ms");
  expect(runs()).toBeLessThan(50);
});

test("an error before any answer was lost is an answer: nothing was done", async () => {
  const { settle, runs } = open(["unavailable"]);
  await rejects(settle(create), "UNAVAILABLE");
  expect(runs()).toBe(1);
});
