/** The View: whatever is in the log, every kernel makes the same of it, and nothing that must not be. */
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { endpointOf } from "../../../core/kernel/endpoint.ts";
import { KernelRecordSchema, ViewSnapshotSchema } from "../../../core/kernel/record-schema.ts";
import { generationsOf } from "../../../core/kernel/slot-ranges.ts";
import type { ViewChange } from "../../../core/kernel/view-change.ts";
import { ViewMachine } from "../../../core/kernel/view-machine.ts";
import type { KernelRecord, OrderedRecord } from "../../../core/kernel/view.ts";

/** Records that a node may send: mostly of kernels and endpoints that there are, so that they meet. */
const intent = fc.record({
  type: fc.constantFrom(
    ...([
      "join",
      "join",
      "slots",
      "slots",
      "remove",
      "grantor",
      "name",
      "unname",
      "moving",
      "moving",
    ] as const),
    ...(["moved", "moved", "aborted", "backup", "backup", "ended", "ended"] as const),
  ),
  kernel: fc.nat(100),
  to: fc.nat(100),
  endpoint: fc.nat(100),
  step: fc.nat(9),
  indexStep: fc.integer({ min: 1, max: 2 }),
});

function recordOf(
  of: typeof intent extends fc.Arbitrary<infer T> ? T : never,
  view: ViewMachine,
): KernelRecord {
  // One that is in the View; now and then one that has gone, or never was.
  const pick = (n: number) =>
    n % 10 === 9 ? (n % 20) + 1 : ([...view.members.keys()][n % (view.members.size || 1)] ?? 1);
  const next = (last: number) => last + (of.step === 0 ? 0 : of.step === 1 ? 2 : 1);
  const leased = view.snapshot().slots.filter((range) => range.kernel !== 0);
  const range = leased[of.endpoint % (leased.length || 1)];
  const known = [...view.places.keys()];
  const isKnown = of.endpoint % 3 > 0 && known.length > 0;
  const slot = (range?.start ?? 0) + (of.endpoint % 2);
  const generation = generationsOf(range?.lease ?? 1).first;
  const endpoint = isKnown ? known[of.endpoint % known.length]! : endpointOf(slot, generation);
  const kernel = of.to % 4 > 0 ? view.holderOf(endpoint) || pick(of.kernel) : pick(of.kernel);
  const name = of.step % 2 === 0 ? "a" : "b";
  switch (of.type) {
    case "join": {
      const incarnation = `i${of.kernel % 12}`;
      const base = { node: incarnation, cpu: 0, unix: "", host: "", port: 0, protocol: 1, protocolMin: 1 };
      return { type: "join", member: { ...base, incarnation } };
    }
    case "remove": {
      const { epoch } = view.grantor;
      if (of.step > 6)
        return {
          type: "remove",
          kernel: pick(of.kernel),
          reason: "lease",
          epoch: Math.max(0, epoch - (of.to % 2)),
        };
      return { type: "remove", kernel: pick(of.kernel), reason: "left" };
    }
    case "grantor":
      return { type: "grantor", kernel: pick(of.kernel), epoch: next(view.grantor.epoch) };
    case "slots":
      return { type: "slots", kernel: pick(of.kernel), count: [1, 2, 3, 65_536][of.step % 4]! };
    case "name":
      return { type: "name", name, endpoint, kernel };
    case "unname":
      return { type: "unname", name, endpoint: view.names.get(name) ?? endpoint };
    case "moving":
      return {
        type: "moving",
        endpoint,
        g: Math.max(1, next(view.moveOf(endpoint))),
        from: kernel,
        to: pick(of.to),
      };
    case "moved":
    case "aborted":
      return { type: of.type, endpoint, g: Math.max(1, next(view.moveOf(endpoint) - 1)) };
    case "backup":
      return { type: "backup", endpoint, kernel: pick(of.kernel) };
    case "ended":
      return { type: "ended", endpoint, kernel };
  }
}

const records: fc.Arbitrary<OrderedRecord[]> = fc
  .array(intent, { minLength: 5, maxLength: 120, size: "max" })
  .map((list) => {
    const view = new ViewMachine();
    let index = 0;
    return list.map((of) => {
      const record = recordOf(of, view);
      const ordered = { index: (index += of.indexStep), id: `r${index}`, record };
      view.apply(ordered);
      return ordered;
    });
  });
const runs = { numRuns: 200 };

/** But for how far it has read. */
function stateOf(view: ViewMachine): string {
  return JSON.stringify({ ...view.snapshot(), index: 0 });
}

test("whatever comes, nothing throws, and a record that is refused changes nothing", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(records, (log) => {
      const view = new ViewMachine();
      for (const ordered of log) {
        expect(KernelRecordSchema.safeParse(ordered.record).success).toBe(true);
        const before = stateOf(view);
        const change = view.apply(ordered);
        seen.add(change.type);
        if (change.type === "refused") expect(stateOf(view)).toBe(before);
        else expect(stateOf(view)).not.toBe(before);
        expect(view.index).toBe(ordered.index);
        checkView(view);
      }
    }),
    runs,
  );
  expect(seen.size).toBe(12);
});

test("kernels that read the same agree, also one that began with a snapshot, and one that reads something twice", () => {
  fc.assert(
    fc.property(records, fc.nat(), (log, at) => {
      const [one, other] = [new ViewMachine(), new ViewMachine()];
      const half = log.length === 0 ? 0 : at % log.length;
      for (const ordered of log.slice(0, half)) one.apply(ordered);
      const stored = ViewSnapshotSchema.parse(JSON.parse(JSON.stringify(one.snapshot())));
      const late = ViewMachine.from(stored);
      for (const ordered of log) other.apply(ordered);
      for (const ordered of log.slice(half)) {
        const changes = [one.apply(ordered), late.apply(ordered)];
        expect(changes[0]).toEqual(changes[1]);
        expect(one.apply(ordered)).toMatchObject({ type: "refused" });
      }
      for (const ordered of log) late.apply(ordered);
      expect(one.snapshot()).toEqual(other.snapshot());
      expect(late.snapshot()).toEqual(other.snapshot());
    }),
    runs,
  );
});

test("a snapshot shares nothing with its View", () => {
  fc.assert(
    fc.property(records, records, (first, then) => {
      const view = new ViewMachine();
      for (const ordered of first) view.apply(ordered);
      const snapshot = view.snapshot();
      const before = JSON.stringify(snapshot);
      const copy = ViewMachine.from(snapshot);
      for (const of of [view, copy]) {
        for (const { index, ...rest } of then) of.apply({ index: index + 1_000, ...rest });
      }
      expect(JSON.stringify(snapshot)).toBe(before);
    }),
    runs,
  );
});

test("no endpoint can be given out twice: leases of a slot never share a generation", () => {
  fc.assert(
    fc.property(records, (log) => {
      const view = new ViewMachine();
      const given = new Set<string>();
      for (const ordered of log) {
        const change: ViewChange = view.apply(ordered);
        if (change.type !== "slots") continue;
        const { start, count, lease, kernel: to } = change.range;
        // What is leased in one piece of 65,536 is looked at by its ends.
        const slots =
          count > 10 ? [start, start + count - 1] : Array.from({ length: count }, (_, i) => start + i);
        for (const slot of slots) {
          expect(given.has(`${slot}/${lease}`)).toBe(false);
          given.add(`${slot}/${lease}`);
          const { first, last } = generationsOf(lease);
          expect(
            view.holderOf(endpointOf(slot, first)) === to || view.places.has(endpointOf(slot, first)),
          ).toBe(true);
          expect(view.mayHaveBeen(endpointOf(slot, last))).toBe(true);
          expect(view.mayHaveBeen(endpointOf(slot, last + 2))).toBe(false);
        }
      }
    }),
    runs,
  );
});

test("a kernel's number is never another's, and an incarnation joins once", () => {
  fc.assert(
    fc.property(records, (log) => {
      const view = new ViewMachine();
      const joined = new Map<number, string>();
      for (const ordered of log) {
        const change = view.apply(ordered);
        if (change.type !== "joined") continue;
        const { kernel: id, incarnation: of } = change.member;
        expect(joined.has(id)).toBe(false);
        expect([...joined.values()]).not.toContain(of);
        joined.set(id, of);
        expect(view.memberOf(of)?.kernel).toBe(id);
      }
      for (const [id, of] of joined) {
        expect(view.hasGone(id)).toBe(!view.members.has(id));
        expect(view.hasGoneIncarnation(of)).toBe(!view.members.has(id));
      }
    }),
    runs,
  );
});

/** What holds after each record. */
function checkView(view: ViewMachine): void {
  const isMember = (id: number) => view.members.has(id);
  const { grantor, names, places } = view;
  expect(grantor.kernel === 0 || isMember(grantor.kernel)).toBe(true);
  for (const named of names.values()) expect(isMember(view.holderOf(named))).toBe(true);
  for (const { holder, to, backups } of places.values()) {
    expect(isMember(holder)).toBe(true);
    expect(to === 0 || (isMember(to) && to !== holder)).toBe(true);
    expect(backups).not.toContain(holder);
    expect(new Set(backups).size).toBe(backups.length);
    expect(backups.every(isMember)).toBe(true);
  }
  const { slots } = view.snapshot();
  expect(slots.reduce((end, { start, count }) => (start === end ? start + count : -1), 0)).toBe(65_536);
  for (const range of slots) expect(range.kernel === 0 || isMember(range.kernel)).toBe(true);
}
