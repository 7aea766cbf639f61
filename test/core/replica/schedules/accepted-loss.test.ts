/**
 * A loss is accepted: those who had everything are gone, a person goes on from a replica that lacks the end
 * (`dvs instance recover --accept-loss`), and then they come back. What they have is no longer the truth: they answer
 * nobody, and stand in no set, before they have learned anew.
 */
import { expect, test } from "bun:test";
import { Lab, nameOf } from "../lab.ts";

/** c lacks what a and b have acknowledged, and is the only one from now on; a and b are off. */
function lost(prepare: (lab: Lab) => void = () => {}): Lab {
  const lab = Lab.of("abc", { policy: { minInSync: 1 } });
  const [a, b, c] = [lab.at("a"), lab.at("b"), lab.at("c")];
  a.set("x", "kept");
  lab.run(20);
  c.kill();
  lab.until("the others go on", () => lab.inSync === "ab");
  for (let i = 1; i <= 10; i++) {
    a.set("x", `lost ${i}`);
    a.set(`lost ${i}`, "1");
    lab.run(20);
  }
  prepare(lab);
  a.kill();
  b.kill();
  c.start();
  lab.run(2_000);
  expect(lab.primaries).toBe("");
  const configuration = { ...lab.store.configuration!, primary: c.machine.self, inSync: ["c"] };
  configuration.epoch++;
  configuration.changeId = "person";
  lab.store = { ...lab.store, version: lab.store.version + 1, configuration };
  lab.tellAll();
  lab.until("it serves", () => lab.primaries === "c");
  expect(c.read("x").value).toBe("kept");
  return lab;
}

function healed(lab: Lab): void {
  lab.until("all are in sync", () => lab.inSync === "abc");
  lab.run(500);
  const { values, index } = lab.at("c").storage.state;
  for (const disk of "ab") {
    const { storage, failure } = lab.at(disk);
    expect([failure, storage.state.index, storage.state.values]).toEqual(["", index, values]);
  }
}

test("who comes back with more than there is answers no read before it has learned anew", () => {
  const lab = lost();
  const b = lab.at("b");
  // The primary says how far a read has to have come, and nothing else.
  lab.hold = (wire) => wire.to === "b" && nameOf(wire) === "append";
  b.start();
  lab.run(50);
  const read = b.read("x");
  lab.run(300);
  expect(read.outcome).toBeNull();
  lab.hold = () => false;
  lab.at("a").start();
  healed(lab);
  expect(b.read("x").value).toBe("kept");
});

test("whose log begins behind the loss is not taken in with what it has", () => {
  const lab = lost((before) => {
    before.run(100);
    before.at("b").takeSnapshot();
  });
  const [b, c] = [lab.at("b"), lab.at("c")];
  // Until the primary's log is longer than that.
  while (c.indices.last <= b.storage.lastIndex + 5) {
    c.set("x", "new");
    lab.run(20);
  }
  b.start();
  lab.at("a").start();
  healed(lab);
  expect(b.value("x")).toBe("new");
});

test("where the primary's log begins behind the loss, its snapshot is taken although it has less", () => {
  const lab = lost();
  const [b, c] = [lab.at("b"), lab.at("c")];
  lab.run(100);
  c.takeSnapshot();
  expect(c.storage.base.index).toBeLessThan(b.storage.lastIndex);
  b.start();
  lab.at("a").start();
  healed(lab);
});

test("a snapshot that says nothing else than the own log is not taken in its place", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const c = lab.add("c");
  for (const disk of "ab") lab.at(disk).machine.replicasWanted(lab.nowMs, lab.wanted);
  for (let i = 0; i < 10; i++) {
    lab.at("a").set("x", String(i));
    lab.run(10);
  }
  lab.holdStore = true;
  c.start();
  lab.run(500);
  const { lastEpoch } = c.machine.log;
  expect(c.role).toBe("learner");
  expect(c.machine.mayTake("a", { index: 5, epoch: lastEpoch })).toBe(false);
  expect(c.machine.mayTake("a", { index: c.indices.applied + 1, epoch: lastEpoch })).toBe(true);
  expect(c.machine.mayTake("b", { index: c.indices.applied + 1, epoch: lastEpoch })).toBe(false);
});
