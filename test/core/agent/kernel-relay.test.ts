/** The relay between containers and coordinator, with a coordinator that a test makes go away and come back. */
import { afterEach, expect, test } from "bun:test";
import { KernelRelay } from "../../../core/agent/kernel-relay.ts";
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
    follows: [] as { read: number; after?: number | undefined }[],
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
    log: () => undefined,
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
  expect(state.follows).toEqual([{ read: 0, after: 0 }]);
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
  expect(state.follows[1]).toEqual({ read: 0, after: 3 });
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
  expect(state.follows[1]).toEqual({ read: recordsPerAck });
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
