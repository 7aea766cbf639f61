/** Damaged records of a replica's log: good ones come from whoever has them. */
import { expect, test } from "bun:test";
import { joinRecords } from "../../../core/replica/record.ts";
import { Lab, type LabReplica, nameOf } from "./lab.ts";

/** A few records that all have. */
function written(disks = "abc"): Lab {
  const lab = Lab.of(disks, { policy: { replicas: disks.length } });
  for (let i = 1; i <= 20; i++) {
    lab.at("a").set("x", String(i));
    lab.run(5);
  }
  return lab;
}

function damage(replica: LabReplica, ...ranges: [from: number, to: number][]): void {
  replica.machine.damaged(
    replica.nowMs,
    ranges.map(([from, to]) => ({ from, to })),
  );
}

test("a backup gets them from the primary, and writes just those that are damaged", () => {
  const lab = written();
  const b = lab.at("b");
  damage(b, [3, 5], [9, 9]);
  expect(b.machine.status.problems.join()).toContain("damaged 4 records");
  lab.until("they are there", () => b.repaired.length > 0, 500);
  expect(b.repaired).toEqual([[3, 4, 5, 9]]);
  b.machine.damaged(b.nowMs, []);
  lab.run(1_000);
  expect([b.repaired.length, b.machine.status.problems]).toEqual([1, []]);
});

test("the primary gets them from a backup", () => {
  const lab = written();
  const a = lab.at("a");
  damage(a, [2, 4]);
  lab.until("they are there", () => a.repaired.length > 0, 500);
  expect(a.repaired).toEqual([[2, 3, 4]]);
});

test("whoever has none is followed by the next, and who does not answer, too", () => {
  const lab = written();
  const [b, c] = [lab.at("b"), lab.at("c")];
  lab.at("a").takeSnapshot();
  damage(b, [3, 5]);
  lab.until("they are there", () => b.repaired.length > 0, 500);
  expect(b.repaired).toEqual([[3, 4, 5]]);
  const last = c.indices.last;
  lab.at("a").set("x", "more");
  lab.run(20);
  lab.hold = (wire) => wire.from === "a" && nameOf(wire) === "givenRecords";
  damage(c, [last, last + 1]);
  lab.until("they are there", () => c.repaired.length > 0, 2_000);
  expect(c.repaired).toEqual([[last, last + 1]]);
});

test("where nobody has them any more, a snapshot is to take their place; and again later", () => {
  const lab = written();
  for (const disk of "ac") lab.at(disk).takeSnapshot();
  const b = lab.at("b");
  damage(b, [3, 5]);
  lab.run(500);
  expect(b.repaired).toEqual([[]]);
  lab.run(10_000);
  expect(b.repaired.length).toBeGreaterThan(1);
  // Its own snapshot ends it.
  b.takeSnapshot();
  const { length } = b.repaired;
  lab.run(10_000);
  expect(b.repaired).toHaveLength(length);
});

test("what is to be applied and cannot be read waits for its repair, and not in every turn", () => {
  const lab = written("a");
  const a = lab.at("a");
  a.powerCut();
  a.isReadable = false;
  a.start();
  // In vain: the lab would not come to rest.
  lab.run(3_000);
  expect([a.indices.applied, lab.primaries]).toEqual([0, ""]);
  a.isReadable = true;
  lab.until("it serves", () => lab.primaries === "a");
  expect(a.read("x").value).toBe("20");
});

test("one that is alone has nobody to ask", () => {
  const lab = written("a");
  damage(lab.at("a"), [3, 5]);
  lab.run(50);
  expect(lab.at("a").repaired).toEqual([[]]);
});

test("a record of another epoch is not the one that was there", () => {
  const lab = written();
  const b = lab.at("b");
  // The primary ends with a record that nobody has.
  lab.cut("a", "bc");
  lab.at("a").set("x", "lost");
  lab.run(5);
  const stale = lab.at("a").storage.records.at(-1)!;
  lab.at("a").kill();
  lab.until("another serves", () => lab.primaries === "b");
  b.set("x", "kept");
  lab.run(50);
  expect(lab.at("c").storage.records[stale.index - 1]!.epoch).toBeGreaterThan(stale.epoch);
  const c = lab.at("c");
  lab.hold = (wire) => nameOf(wire) === "givenRecords";
  damage(c, [stale.index, stale.index]);
  lab.run(20);
  const given = lab.wires.find((wire) => nameOf(wire) === "givenRecords")!;
  lab.wires = lab.wires.filter((wire) => wire !== given);
  lab.hold = () => false;
  c.receive("b", [given.message[0], joinRecords([stale])] as typeof given.message);
  lab.settle();
  // Nobody is left to ask.
  expect(c.repaired).toEqual([[]]);
  lab.until("the right one is there", () => c.repaired.length > 1, 10_000);
  expect(c.repaired[1]).toEqual([stale.index]);
});
