/** Reads at replicas: at once where they are clean, after the commit where they are not (rule 5, CRAQ). */
import { expect, test } from "bun:test";
import { Lab, nameOf } from "./lab.ts";

/** `x` is prepared at b, and c has not got it: it is not committed. */
function prepared(): Lab {
  const lab = Lab.of("abc");
  lab.at("a").set("x", "old");
  lab.run(150);
  lab.hold = (wire) => wire.to === "c" && nameOf(wire) === "append";
  lab.at("a").set("x", "new");
  lab.run(5);
  return lab;
}

test("a backup that has prepared a write of the key waits for its commit", () => {
  const lab = prepared();
  const read = lab.at("b").read("x");
  lab.run(50);
  expect(read.outcome).toBeNull();
  lab.hold = () => false;
  lab.run(5);
  expect(read.value).toBe("new");
});

test("other keys are read at once meanwhile", () => {
  const lab = prepared();
  expect(lab.at("b").read("y")).toMatchObject({ value: null, outcome: { type: "ok" } });
});

test("a backup that has not even got it answers with the value that is acknowledged", () => {
  const lab = prepared();
  expect(lab.at("c").read("x").value).toBe("old");
  expect(lab.at("a").read("x").value).toBe("old");
});

test("a read of everything waits for all that is prepared", () => {
  const lab = prepared();
  const b = lab.at("b");
  const read = b.readAll();
  expect(read.outcome).toBeNull();
  lab.hold = () => false;
  lab.run(5);
  expect(read.outcome?.type).toBe("ok");
});

test("a replica without a lease asks the primary, and answers when it has applied that", () => {
  const lab = Lab.of("abc");
  const b = lab.at("b");
  lab.at("a").set("x", "1");
  lab.settle();
  // No lease comes through.
  lab.hold = (wire) => wire.to === "b" && nameOf(wire) === "beacon";
  lab.run(lab.timings.readLeaseMs + 10);
  expect(b.machine.promises.hasReadLease).toBe(false);
  const read = b.read("x");
  expect(read.outcome).toBeNull();
  lab.settle();
  expect(read.value).toBe("1");
});

test("a learner reads, too", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const c = lab.add("c");
  lab.wanted = ["a", "b", "c"];
  lab.at("a").machine.replicasWanted(lab.nowMs, lab.wanted);
  lab.holdStore = true;
  c.start();
  lab.at("a").set("x", "1");
  lab.run(300);
  expect([c.role, lab.inSync]).toEqual(["learner", "ab"]);
  const read = c.read("x");
  lab.run(5);
  expect(read.value).toBe("1");
});

test("an answer to an earlier question, or to another life, is no answer", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  lab.hold = (wire) => wire.to === "b" && nameOf(wire) === "beacon";
  lab.run(lab.timings.readLeaseMs + 10);
  lab.hold = (wire) => wire.to === "b";
  const before = b.read("x");
  lab.settle();
  const late = lab.wires.filter((wire) => nameOf(wire) === "readIndexed");
  expect(late).toHaveLength(1);
  b.kill();
  a.set("x", "1");
  b.start();
  lab.run(20);
  const read = b.read("x");
  lab.settle();
  lab.hold = () => true;
  lab.wires = [];
  b.receive("a", late[0]!.message);
  lab.settle();
  expect([before.outcome, read.outcome]).toEqual([null, null]);
});

test("without any primary a read is refused after its time", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  lab.at("a").kill();
  lab.cutStore("b");
  lab.run(1_000);
  const read = lab.at("b").read("x");
  lab.run(lab.timings.elsewhereMs - 1_000 - 200);
  expect(read.outcome).toBeNull();
  lab.run(300);
  expect(read.outcome).toMatchObject({ type: "refused", reason: "no-primary" });
});

test("a primary whose backups are silent answers no read before they are heard, or out", () => {
  const lab = Lab.of("abc");
  const a = lab.at("a");
  lab.cut("a", "bc");
  lab.cutStore("abc");
  lab.run(lab.timings.aliveMs + 5);
  const read = a.read("x");
  lab.run(50);
  expect(read.outcome).toBeNull();
  lab.mend();
  lab.run(300);
  expect(read.outcome?.type).toBe("ok");
});

test("the primary reads nothing older than what a backup may have told of", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  // More than one step applies.
  for (let i = 0; i < 3_000; i++) a.set("x", String(i));
  for (let i = 0; i < 100 && a.indices.commit < 3_000; i++) {
    for (const replica of [a, b]) replica.work();
    lab.deliver();
  }
  a.work();
  lab.deliver();
  // The backup is faster.
  for (let i = 0; i < 20; i++) b.work();
  expect([b.read("x").value, a.value("x") === "2999"]).toEqual(["2999", false]);
  const read = a.read("x");
  expect(read.outcome).toBeNull();
  lab.run(5);
  expect(read.value).toBe("2999");
});
