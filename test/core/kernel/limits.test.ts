/** What an instance may have by design: 1,024 nodes and 65,536 endpoints. */
import { expect, test } from "bun:test";
import { privilegeBits } from "../../../core/kernel/privileges.ts";
import {
  generationOf,
  generationMax,
  isEndpoint,
  slotOf,
  slotsMax,
  endpointOf,
} from "../../../core/kernel/endpoint.ts";
import { SlotRanges } from "../../../core/kernel/slot-ranges.ts";
import { ViewMachine } from "../../../core/kernel/view-machine.ts";
import {
  generationsPerLease,
  outletsIdleMax,
  processCallsMax,
  storeValueBytesMax,
} from "../../../core/limits.ts";
import { Lab } from "./lab.ts";

const members = 1_024;

/** A View with so many members, each with its share of all slots and a name. */
function fullView(): ViewMachine {
  const view = new ViewMachine();
  let index = 0;
  const apply = (record: Parameters<ViewMachine["apply"]>[0]["record"]) =>
    view.apply({ index: ++index, id: `r${index}`, record });
  const base = { cpu: 0, unix: "/run/dvs/c/00000000/kernel.sock", port: 40_000, protocol: 1, protocolMin: 1 };
  for (let i = 0; i < members; i++) {
    const member = {
      ...base,
      incarnation: `incarnation-${i}`,
      node: `node-${i}`,
      host: `10.0.${i >> 8}.${i & 255}`,
    };
    const joined = apply({ type: "join", member });
    if (joined.type !== "joined") throw new Error("it did not join");
    const { kernel } = joined.member;
    const leased = apply({ type: "slots", kernel, count: slotsMax / members });
    if (leased.type !== "slots") throw new Error("it got no slots");
    const endpoint = endpointOf(leased.range.start, 1);
    apply({ type: "name", name: `server-${i}`, endpoint, kernel });
  }
  return view;
}

test("the View carries 1,024 members with all 65,536 slots, and its snapshot fits into the store", () => {
  const view = fullView();
  expect(view.members.size).toBe(members);
  expect(view.names.size).toBe(members);
  const holders = new Set(Array.from({ length: slotsMax }, (_, slot) => view.holderOf(endpointOf(slot, 1))));
  expect(holders.size).toBe(members);
  expect(holders.has(0)).toBe(false);
  // The coordinator folds records into a snapshot up to half of what a value may have.
  expect(JSON.stringify(view.snapshot()).length).toBeLessThan(storeValueBytesMax / 2);
  const none = view.apply({ index: view.index + 1, id: "x", record: { type: "slots", kernel: 1, count: 1 } });
  expect(none).toMatchObject({ type: "refused", why: "all 65536 slots are leased" });
});

test("one kernel binds 65,536 processes, each of which can be called; the next is told NO_SLOTS", () => {
  const lab = new Lab(1);
  const kernel = lab.kernels[0]!;
  const privileges = privilegeBits();
  const calls = Array.from({ length: slotsMax }, () => kernel.machine.bind({ privileges }));
  lab.settle();
  const failed = calls.filter((call) => call.outcome !== "OK");
  expect(failed.length).toBe(0);
  const procs = [...kernel.machine.table.all()];
  expect(new Set(procs.map(({ endpoint }) => slotOf(endpoint))).size).toBe(slotsMax);
  const one = kernel.machine.bind({ privileges });
  lab.settle();
  expect(one.outcome).toBe("NO_SLOTS");
  // Each calls the one before it.
  for (const [i, proc] of procs.entries()) kernel.send(proc, procs.at(i - 1)!, i);
  expect(procs.every((proc) => kernel.machine.tryReceive(proc, -1, false) !== null)).toBe(true);
  expect(procs.every((proc) => proc.underWay === 0)).toBe(true);
});

test("a kernel remembers a bounded number of destinations on other kernels, and reaches all of them", () => {
  const lab = new Lab(2);
  const [near, far] = [lab.kernels[0]!, lab.kernels[1]!];
  const count = outletsIdleMax + 1_000;
  const privileges = privilegeBits();
  const calls = Array.from({ length: count }, () => far.machine.bind({ privileges }));
  lab.settle();
  expect(calls.every((call) => call.outcome === "OK")).toBe(true);
  const caller = near.bind();
  const procs = [...far.machine.table.all()];
  for (let i = 0; i < procs.length; i += processCallsMax / 4) {
    for (const proc of procs.slice(i, i + processCallsMax / 4)) near.send(caller, proc);
    lab.settle();
    for (const proc of procs.slice(i, i + processCallsMax / 4)) far.machine.tryReceive(proc, -1, false);
    lab.settle();
    expect(near.machine.peers.outlets.size).toBeLessThanOrEqual(outletsIdleMax);
  }
  expect(caller.underWay).toBe(0);
  expect(procs.every(({ counters }) => counters.receivedRemote === 1)).toBe(true);
});

test("an endpoint is one exact number, up to the last generation of the last slot", () => {
  const last = endpointOf(slotsMax - 1, generationMax - 1);
  expect(Number.isSafeInteger(last)).toBe(true);
  expect([slotOf(last), generationOf(last)]).toEqual([slotsMax - 1, generationMax - 1]);
  expect(isEndpoint(last)).toBe(true);
  for (const not of [last + 1, 0, slotsMax - 1, -1, 1.5, NaN, "65536", null])
    expect(isEndpoint(not)).toBe(false);
});

test("a slot is leased anew until its generations are used up, then never again", () => {
  const leases = generationMax / generationsPerLease;
  const spent = SlotRanges.from([{ start: 0, count: slotsMax, kernel: 0, lease: leases - 1 }]);
  const range = spent.lease(1, slotsMax)!;
  expect(range.lease).toBe(leases);
  expect(isEndpoint(endpointOf(range.start, range.lease * generationsPerLease - 1))).toBe(true);
  spent.release(1);
  expect(spent.lease(1, 1)).toBeUndefined();
});
