/** The relay between containers and coordinator, with a coordinator that a test makes go away and come back. */
import { afterEach, expect, test } from "bun:test";
import { KernelRelay } from "../../../core/agent/kernel-relay.ts";
import type { RecordsFollow } from "../../../core/agent-protocol.ts";
import type { ToContainer } from "../../../core/container/control.ts";
import { DvsError, type ErrorCode } from "../../../core/errors.ts";
import type { OrderedRecord } from "../../../core/kernel/view.ts";
import { recordsPerAck, recordsPerBatch } from "../../../core/limits.ts";

const uid = "u1";
const ending = new AbortController();
afterEach(() => (state = fresh()));

function fresh() {
  return {
    failing: null as ErrorCode | null,
    follows: [] as RecordsFollow[],
    log: [] as string[],
    exits: [] as string[],
    calls: [] as string[],
    /** Holds proposals back. */
    gate: Promise.resolve(),
  };
}
let state = fresh();

function relay(): KernelRelay {
  const check = () => {
    if (state.failing) throw new DvsError(state.failing, "as the test wants");
  };
  return new KernelRelay({
    coordinator: {
      async proposeRecord(_uid, { id }) {
        await state.gate;
        check();
        state.calls.push(`propose ${id}`);
        return 7;
      },
      async followRecords(_uid, follow) {
        check();
        state.follows.push(follow);
      },
      async containerExited(_uid, incarnation) {
        check();
        state.calls.push(`exit ${incarnation}`);
        state.exits.push(incarnation);
      },
    },
    log: (level, message) => state.log.push(`${level} ${message}`),
    signal: ending.signal,
  });
}

const records = (from: number, to: number): OrderedRecord[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({
    index: from + i,
    id: `r${from + i}`,
    record: { type: "slots", kernel: 1, count: 1 },
  }));
const batch = (from: number, to: number) => ({
  type: "records" as const,
  uid,
  snapshot: null,
  records: records(from, to),
});

function container(of: KernelRelay, incarnation: string, after = 0) {
  const got: ToContainer[] = [];
  const send = (message: ToContainer) => got.push(message);
  of.receive(uid, incarnation, { type: "kernelFollow", after }, send);
  return {
    got,
    send,
    indices: () => got.flatMap((m) => (m.type === "kernelRecords" ? m.records.map((r) => r.index) : [])),
  };
}
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
}
const range = (from: number, to: number) => records(from, to).map((r) => r.index);

test("two containers of an instance share one stream, and each gets every record once", async () => {
  const r = relay();
  const a = container(r, "a");
  r.take(batch(1, 3));
  const b = container(r, "b");
  r.take(batch(4, 5));
  expect(a.indices()).toEqual(range(1, 5));
  expect(b.indices()).toEqual(range(1, 5));
  await until(() => state.follows.length > 0);
  expect(state.follows).toEqual([{ read: 0, after: 0, generation: 1 }]);
});

test("records that come again are given to nobody twice", () => {
  const r = relay();
  const a = container(r, "a");
  r.take(batch(1, 3));
  r.take(batch(1, 4));
  expect(a.indices()).toEqual(range(1, 4));
});

test("a container that links again goes on where it says it is", () => {
  const r = relay();
  const a = container(r, "a");
  r.take(batch(1, 3));
  r.unlinked(uid, "a");
  r.take(batch(4, 6));
  expect(a.indices()).toEqual(range(1, 3));
  const again = container(r, "a", 2);
  expect(again.indices()).toEqual(range(3, 6));
});

test("many records come in batches of bounded size", () => {
  const r = relay();
  const a = container(r, "a");
  r.take(batch(1, recordsPerBatch + 1));
  expect(a.got).toHaveLength(2);
  expect(a.indices()).toEqual(range(1, recordsPerBatch + 1));
});

test("while the coordinator is away the container waits; then the relay asks from where it is", async () => {
  const r = relay();
  state.failing = "UNAVAILABLE";
  const a = container(r, "a");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(a.got).toEqual([]);
  state.failing = null;
  await until(() => state.follows.length === 1);
  r.take(batch(1, 3));
  r.reconnected();
  await until(() => state.follows.length === 2);
  expect(state.follows[1]).toEqual({ read: 0, after: 3, generation: 1 });
});

test("the coordinator hears how far all containers have read", async () => {
  const r = relay();
  container(r, "a");
  container(r, "b");
  r.take(batch(1, 2 * recordsPerAck));
  await until(() => state.follows.length === 1);
  r.receive(uid, "a", { type: "kernelRead", index: 2 * recordsPerAck }, () => undefined);
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(state.follows).toHaveLength(1);
  r.receive(uid, "b", { type: "kernelRead", index: recordsPerAck }, () => undefined);
  await until(() => state.follows.length === 2);
  expect(state.follows[1]).toEqual({ read: recordsPerAck, generation: 1 });
});

test("a refused proposal tells the container why, and one without an answer in time is of unknown outcome", async () => {
  const r = relay();
  const a = container(r, "a");
  r.take(batch(1, 1));
  const propose = (id: string) =>
    r.receive(
      uid,
      "a",
      { type: "kernelPropose", id, record: { type: "slots", kernel: 1, count: 1 } },
      a.send,
    );
  const answers = () => a.got.filter((m) => m.type === "kernelProposed");
  propose("one");
  await until(() => answers().length === 1);
  for (const code of ["FORBIDDEN", "TIMEOUT"] as const) {
    state.failing = code;
    propose(code);
    await until(() => answers().some((m) => m.id === code));
  }
  expect(answers().map(({ id, index, code }) => [id, index, code])).toEqual([
    ["one", 7, ""],
    ["FORBIDDEN", null, "FORBIDDEN"],
    ["TIMEOUT", null, "OUTCOME_UNKNOWN"],
  ]);
});

test("an exit certificate comes after the proposals of the dead container, and waits for a coordinator", async () => {
  const r = relay();
  const a = container(r, "a");
  const gate = Promise.withResolvers<void>();
  state.gate = gate.promise;
  r.receive(
    uid,
    "a",
    { type: "kernelPropose", id: "j", record: { type: "slots", kernel: 1, count: 1 } },
    a.send,
  );
  r.exited(uid, "a");
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(state.calls).toEqual([]);
  gate.resolve();
  await until(() => state.calls.length === 2);
  expect(state.calls).toEqual(["propose j", "exit a"]);
  container(r, "b");
  state.failing = "UNAVAILABLE";
  r.exited(uid, "b");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(state.exits).toEqual(["a"]);
  state.failing = null;
  await until(() => state.exits.length === 2);
});

test("a container that has no kernel gets no certificate, one that an earlier agent left dead does", async () => {
  const r = relay();
  r.exited(uid, "web");
  r.found(uid, "found");
  await until(() => state.exits.length > 0);
  expect(state.exits).toEqual(["found"]);
});

test("once the store was restored every container gets what there is now, and is told that it is of another generation", async () => {
  const r = relay();
  const a = container(r, "a");
  r.take({ ...batch(1, 5), generation: 1 });
  r.take({ ...batch(2, 3), generation: 2 });
  r.take({ ...batch(4, 4), generation: 2 });
  const got = a.got.flatMap((m) => (m.type === "kernelRecords" ? [m] : []));
  expect(got.map((m) => [m.generation, m.records.map(({ index }) => index)])).toEqual([
    [1, [1, 2, 3, 4, 5]],
    [2, [2, 3]],
    [2, [4]],
  ]);
  expect(state.log).toEqual([
    `warn the store was restored (generation 2 after 1): kernels of instance ${uid} begin anew`,
  ]);
  // One that was away is told by the same sign, one that has begun since goes on where it was.
  const away: ToContainer[] = [];
  r.receive(uid, "b", { type: "kernelFollow", after: 5, generation: 1 }, (m) => away.push(m));
  expect(away).toMatchObject([{ generation: 2, records: [{ index: 2 }, { index: 3 }, { index: 4 }] }]);
  const since: ToContainer[] = [];
  r.receive(uid, "c", { type: "kernelFollow", after: 3, generation: 2 }, (m) => since.push(m));
  expect(since).toMatchObject([{ generation: 2, records: [{ index: 4 }] }]);
  r.reconnected();
  await until(() => state.follows.length > 1);
  expect(state.follows.at(-1)).toMatchObject({ after: 4, generation: 2 });
});

test("that an older store was put back is told once, and asked again", async () => {
  const r = relay();
  state.failing = "CONFLICT";
  container(r, "a");
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(state.log).toEqual([`error kernels of instance ${uid} hear of nothing new: as the test wants`]);
  state.failing = null;
  await until(() => state.follows.length === 1);
});
