/** Cold start of all: everything was switched off at once, and nobody is primary any more (rule 4). */
import { expect, test } from "bun:test";
import { eraOf } from "../../../../core/replica/era.ts";
import { Lab } from "../lab.ts";

function powerCutOfAll(lab: Lab): void {
  for (const replica of lab.replicas.values()) replica.powerCut();
  lab.run(1_000);
}

test("fsync: whoever is first proposes itself G after its start, and nothing is lost", () => {
  const lab = Lab.of("abc");
  const written = lab.at("a").set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
  powerCutOfAll(lab);
  for (const disk of "bc") lab.at(disk).startAfterPowerCut();
  lab.run(lab.timings.promiseMs - 10);
  expect(lab.store.configuration?.epoch).toBe(1);
  lab.until("one serves", () => lab.primaries !== "", 3_000);
  expect(lab.at(lab.primaries).read("x").value).toBe("1");
  lab.at("a").startAfterPowerCut();
  lab.until("all are in sync", () => lab.inSync === "abc");
  for (const disk of "abc") expect(lab.at(disk).value("x")).toBe("1");
});

test("fsync: one of them that comes back alone is enough", () => {
  const lab = Lab.of("abc");
  const written = lab.at("a").set("x", "1");
  lab.run(20);
  powerCutOfAll(lab);
  lab.at("c").startAfterPowerCut();
  lab.until("it serves", () => lab.primaries === "c", 5_000);
  expect(written.result).toBe("1");
  expect(lab.at("c").read("x").value).toBe("1");
});

test("kill -9 of all in replicated mode: everything was written, and nobody is an amnesiac", () => {
  const lab = Lab.of("abc", { policy: { durability: "replicated" } });
  for (const replica of lab.replicas.values()) replica.syncs = false;
  const written = lab.at("a").set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
  for (const replica of lab.replicas.values()) replica.kill();
  lab.run(100);
  for (const replica of lab.replicas.values()) {
    replica.syncs = true;
    replica.start();
  }
  lab.until("one serves", () => lab.primaries !== "", 5_000);
  expect(lab.at(lab.primaries).read("x").value).toBe("1");
  expect(eraOf(lab.at("a").machine.status.epoch)).toBe(0);
});

test("power cut of all in replicated mode: the longest log, and only when all have reported", () => {
  const lab = Lab.of("abc", { policy: { durability: "replicated" } });
  const [a, b, c] = [lab.at("a"), lab.at("b"), lab.at("c")];
  a.syncs = false;
  c.syncs = false;
  const written = a.set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
  powerCutOfAll(lab);
  for (const replica of [a, b, c]) replica.syncs = true;
  a.startAfterPowerCut();
  b.startAfterPowerCut();
  lab.run(5_000);
  expect(lab.primaries).toBe("");
  expect(a.machine.status.problems.join()).toContain("waits for c");
  c.startAfterPowerCut();
  lab.until("all are in sync", () => lab.primaries === "b" && lab.inSync === "abc", 10_000);
  expect(lab.primaries).toBe("b");
  for (const disk of "abc") expect(lab.at(disk).value("x")).toBe("1");
  // What none of them has any more was acknowledged: its revisions do not come again.
  expect(eraOf(b.machine.status.epoch)).toBe(1);
});

test("one that is no amnesiac goes before those that are, however long their logs", () => {
  const lab = Lab.of("abc", { policy: { durability: "replicated" } });
  const [a, b, c] = [lab.at("a"), lab.at("b"), lab.at("c")];
  // c has records that nobody has committed.
  lab.cut("b", "a");
  a.set("y", "uncommitted");
  lab.run(20);
  a.powerCut();
  c.powerCut();
  b.kill();
  lab.run(500);
  lab.mend();
  a.startAfterPowerCut();
  c.startAfterPowerCut();
  b.start();
  lab.until("one serves", () => lab.primaries !== "");
  expect(lab.primaries).toBe("b");
});
