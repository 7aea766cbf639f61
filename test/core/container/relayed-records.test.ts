/** The order of records as a container has it, with agents that come and go. */
import { expect, test } from "bun:test";
import type { FromContainer } from "../../../core/container/control.ts";
import { RelayedRecords } from "../../../core/container/relayed-records.ts";
import { DvsError } from "../../../core/errors.ts";
import { recordsPerAck } from "../../../core/limits.ts";
import type { ViewSnapshot } from "../../../core/kernel/view-machine.ts";
import { ViewMachine } from "../../../core/kernel/view-machine.ts";
import type { OrderedRecord } from "../../../core/kernel/view.ts";

const record = { type: "slots", kernel: 1, count: 1 } as const;
const range = (from: number, to: number): OrderedRecord[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({ index: from + i, id: `r${from + i}`, record }));

function followed(hasAgent = true) {
  const sent: FromContainer[] = [];
  const gaps: string[] = [];
  const state = { hasAgent };
  const records = new RelayedRecords({
    send: (message) => state.hasAgent && sent.push(message) > 0,
    onGap: (reason) => gaps.push(reason),
  });
  const got: (OrderedRecord | { snapshot: ViewSnapshot })[] = [];
  const abort = new AbortController();
  const done = (async () => {
    for await (const entry of records.follow(abort.signal)) got.push(entry);
  })();
  const batch = (from: number, to: number, snapshot: ViewSnapshot | null = null) =>
    records.receive({ type: "kernelRecords", snapshot, records: range(from, to) });
  const indices = () => got.flatMap((entry) => ("index" in entry ? [entry.index] : []));
  return { records, sent, gaps, got, indices, batch, abort, done, state };
}
const turn = () => new Promise((resolve) => setTimeout(resolve, 2));
const at = (index: number) => ({ ...new ViewMachine().snapshot(), index });

test("the first entry is a snapshot, of an empty View where nothing was before", async () => {
  const f = followed();
  await turn();
  expect(f.sent).toEqual([{ type: "kernelFollow", after: 0 }]);
  f.batch(1, 2);
  await turn();
  expect(f.got[0]).toEqual({ snapshot: at(0) });
  expect(f.indices()).toEqual([1, 2]);
});

test("a snapshot, then what comes after it", async () => {
  const f = followed();
  f.batch(8, 9, at(7));
  await turn();
  expect(f.got[0]).toEqual({ snapshot: at(7) });
  expect(f.indices()).toEqual([8, 9]);
});

test("two agents that send the same make no record come twice, and a new one is told where to go on", async () => {
  const f = followed();
  f.batch(1, 3);
  f.batch(1, 4);
  f.batch(4, 5);
  await turn();
  expect(f.indices()).toEqual([1, 2, 3, 4, 5]);
  expect(f.records.messages()).toEqual([{ type: "kernelFollow", after: 5, generation: 1 }]);
});

test("a snapshot beyond what was read means that records are missing", async () => {
  const f = followed();
  f.batch(1, 3);
  f.batch(9, 9, at(8));
  await turn();
  expect(f.gaps).toEqual(["records from 3 to 8 are missing"]);
  expect(f.indices()).toEqual([1, 2, 3]);
});

test("what was applied is acknowledged, not what only arrived", async () => {
  const f = followed();
  f.batch(1, 3 * recordsPerAck);
  expect(f.sent.filter((m) => m.type === "kernelRead")).toEqual([]);
  await turn();
  const acks = f.sent.flatMap((m) => (m.type === "kernelRead" ? [m.index] : []));
  expect(acks).toHaveLength(3);
  expect(acks.at(-1)).toBeLessThanOrEqual(3 * recordsPerAck);
});

test("a proposal gets its index, or the reason why it has none", async () => {
  const f = followed();
  const good = f.records.propose("a", record);
  const bad = f.records.propose("b", record);
  f.records.receive({
    type: "kernelProposed",
    id: "b",
    index: null,
    code: "FORBIDDEN",
    reason: "not yours",
  });
  f.records.receive({ type: "kernelProposed", id: "a", index: 5, code: "", reason: "" });
  expect(await good).toBe(5);
  expect(await bad.catch((e: DvsError) => e.code)).toBe("FORBIDDEN");
});

test("without an agent a proposal fails at once as not ordered", async () => {
  const f = followed(false);
  expect(await f.records.propose("a", record).catch((e: DvsError) => e.code)).toBe("UNAVAILABLE");
});

test("following ends with its signal", async () => {
  const f = followed();
  f.abort.abort();
  await f.done;
  expect(f.records.messages()).toEqual([]);
});

test("records of another generation of the store are not taken: the kernel has to begin anew", async () => {
  const f = followed();
  f.records.receive({ type: "kernelRecords", generation: 3, snapshot: null, records: range(1, 2) });
  await turn();
  f.records.receive({ type: "kernelRecords", generation: 4, snapshot: at(7), records: range(8, 9) });
  await turn();
  expect(f.indices()).toEqual([1, 2]);
  expect(f.gaps).toEqual(["the store was restored: its generation is 4, it was 3"]);
  expect(f.records.messages()).toEqual([{ type: "kernelFollow", after: 2, generation: 3 }]);
});

test("a proposal says by which generation it goes, once that is known", async () => {
  const f = followed();
  const proposals = [f.records.propose("a", record)];
  f.records.receive({ type: "kernelRecords", generation: 3, snapshot: null, records: [] });
  proposals.push(f.records.propose("b", record));
  const sent = f.sent.flatMap((m) => (m.type === "kernelPropose" ? [m.generation] : []));
  expect(sent).toEqual([undefined, 3]);
  for (const id of ["a", "b"]) {
    f.records.receive({ type: "kernelProposed", id, index: 1, code: "", reason: "" });
  }
  await Promise.all(proposals);
});

test("a record that is ordered before what was read means that an older store was put back", async () => {
  const f = followed();
  f.batch(1, 5);
  const proposal = f.records.propose("a", record);
  f.records.receive({ type: "kernelProposed", id: "a", index: 5, code: "", reason: "" });
  expect(await proposal.catch((e: DvsError) => e.code)).toBe("OUTCOME_UNKNOWN");
  expect(f.gaps).toEqual(["a record was ordered as 5 when 5 had been read: an older store was put back"]);
});
