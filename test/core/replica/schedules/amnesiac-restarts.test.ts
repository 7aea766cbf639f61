/**
 * An amnesiac restarts: in `replicated` mode its machine lost power, and with it records that it had acknowledged. It
 * stands in the in-sync set of the same epoch, and may neither become primary nor read before it has learned anew
 * (rule 4).
 */
import { expect, test } from "bun:test";
import { Lab, nameOf } from "../lab.ts";

const policy = { replicas: 2, durability: "replicated" } as const;

/** `x` is acknowledged by both, and not on b's disk. */
function acknowledged(): Lab {
  const lab = Lab.of("ab", { policy });
  lab.at("b").syncs = false;
  const written = lab.at("a").set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
  return lab;
}

test("it does not become primary while the one that has everything is away, and says what it waits for", () => {
  const lab = acknowledged();
  const [a, b] = [lab.at("a"), lab.at("b")];
  lab.cut("a", "b");
  b.powerCut();
  b.startAfterPowerCut();
  a.kill();
  lab.run(10_000);
  expect(lab.inSync).toBe("ab");
  expect([b.role, lab.primaries]).toEqual(["learner", ""]);
  expect(b.machine.status.problems.join()).toContain("waits for a");
  lab.mend();
  b.syncs = true;
  a.start();
  lab.until("all is well", () => lab.primaries === "a" && lab.inSync === "ab");
  expect([a.value("x"), b.value("x")]).toEqual(["1", "1"]);
});

test("nor by the certificate of the primary's end", () => {
  const lab = acknowledged();
  lab.cut("a", "b");
  lab.at("b").powerCut();
  lab.at("b").startAfterPowerCut();
  lab.at("a").kill();
  lab.run(50);
  lab.certify("a1", "a");
  lab.run(5_000);
  expect(lab.primaries).toBe("");
});

test("it stays one when it restarts again before anybody has heard of it", () => {
  const lab = acknowledged();
  const b = lab.at("b");
  lab.cut("a", "b");
  b.powerCut();
  b.startAfterPowerCut();
  lab.run(20);
  lab.at("a").kill();
  b.kill();
  b.start();
  lab.run(5_000);
  expect(lab.primaries).toBe("");
});

test("the primary takes it out, and in again once it has everything", () => {
  const lab = acknowledged();
  const b = lab.at("b");
  b.powerCut();
  b.syncs = true;
  b.startAfterPowerCut();
  lab.until("it is in again", () => lab.inSync === "ab" && b.role === "backup");
  expect(lab.changes.map((change) => change.inSync.join(""))).toEqual(["a", "ab", "a", "ab"]);
  expect(b.machine.status.amnesiac).toBe(false);
  expect(b.value("x")).toBe("1");
});

test("it reads nothing by a lease before it has learned anew", () => {
  const lab = acknowledged();
  const b = lab.at("b");
  b.powerCut();
  b.startAfterPowerCut();
  lab.holdStore = true;
  for (let i = 0; i < 100; i++) {
    lab.run(5);
    expect(b.machine.isServing).toBe(false);
  }
});

test("with fsync a power cut makes nobody an amnesiac", () => {
  const lab = Lab.of("ab", { policy: { ...policy, durability: "fsync" } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  b.syncs = false;
  const written = a.set("x", "1");
  lab.run(20);
  expect(written.outcome).toBeNull();
  b.syncs = true;
  lab.run(20);
  expect(written.result).toBe("1");
  b.powerCut();
  b.startAfterPowerCut();
  a.kill();
  lab.until("it serves", () => lab.primaries === "b");
  expect(b.value("x")).toBe("1");
});

test("an old configuration, in which it was not in sync yet, tells it nothing", () => {
  const lab = Lab.of("a", { policy });
  const b = lab.add("b");
  const alone = lab.store;
  lab.at("a").machine.replicasWanted(lab.nowMs, lab.wanted);
  b.start();
  lab.until("both are in sync", () => lab.inSync === "ab" && b.role === "backup", 2_000);
  lab.run(50);
  b.syncs = false;
  const written = lab.at("a").set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
  lab.cut("a", "b");
  lab.at("a").kill();
  b.powerCut();
  b.syncs = true;
  b.startAfterPowerCut();
  // A coordinator that lags answers first.
  b.toldByStore = false;
  b.machine.configurationRead(b.nowMs, alone);
  b.work();
  expect(b.machine.configurations.version).toBe(1);
  lab.run(5_000);
  expect([lab.inSync, lab.primaries]).toEqual(["ab", ""]);
});

test("what it had only written as a learner counts for nothing when it is taken in", () => {
  const lab = Lab.of("ab", { policy: { replicas: 3, durability: "replicated" } });
  const [a, c] = [lab.at("a"), lab.add("c")];
  a.machine.replicasWanted(lab.nowMs, lab.wanted);
  a.set("x", "1");
  lab.run(20);
  c.syncs = false;
  c.start();
  lab.run(500);
  expect([c.indices.last, lab.inSync]).toEqual([a.indices.last, "ab"]);
  c.syncs = true;
  lab.until("all are in sync", () => lab.inSync === "abc", 2_000);
});

test("nor do acknowledgements of its life before", () => {
  const lab = Lab.of("ab", { policy });
  const [a, b] = [lab.at("a"), lab.at("b")];
  b.syncs = false;
  a.set("x", "1");
  lab.run(20);
  const peer = () => a.machine.status.peers[0]!;
  expect(peer().written).toBe(a.indices.last);
  b.powerCut();
  lab.hold = (wire) => wire.to === "b" && nameOf(wire) === "append";
  b.startAfterPowerCut();
  lab.run(20);
  expect(peer().written).toBeLessThan(a.indices.last);
});

test("one whose disk has damaged what it acknowledged goes on when a person says so, and not before", () => {
  const lab = Lab.of("a", { policy: { replicas: 1 } });
  const a = lab.at("a");
  a.set("x", "1");
  lab.run(20);
  a.kill();
  a.storage.records.pop();
  a.storage.state = new Lab().add("none").storage.state;
  a.storage.meta = { ...a.storage.meta, damaged: true };
  a.start(true);
  lab.run(10_000);
  expect(lab.primaries).toBe("");
  expect(a.machine.status.problems.join()).toContain("recover --accept-loss");
  const configuration = { ...lab.store.configuration!, primary: a.machine.self, changeId: "person" };
  configuration.epoch++;
  lab.store = { ...lab.store, version: lab.store.version + 1, configuration };
  lab.tellAll();
  lab.until("it serves", () => lab.primaries === "a");
  expect([a.read("x").value, a.storage.meta.damaged]).toEqual([null, false]);
});

test("nor is it taken in by what its life before had said was durable", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  b.kill();
  lab.until("it is out", () => lab.inSync === "a");
  a.set("x", "1");
  lab.run(20);
  lab.holdStore = true;
  b.start();
  lab.until("it is to be taken in", () => a.machine.configurations.isChanging);
  b.kill();
  b.storage.records.length = 1;
  b.storage.state = new Lab().add("none").storage.state;
  b.storage.meta = { ...b.storage.meta, damaged: true };
  lab.cut("a", "b");
  // It reads that it is out, and then it is in.
  b.start(true);
  lab.run(200);
  lab.releaseStore();
  lab.run(50);
  expect(lab.inSync).toBe("ab");
  a.kill();
  lab.run(5_000);
  expect(lab.primaries).toBe("");
  lab.mend();
  a.start();
  lab.until("all is well", () => lab.primaries === "a" && lab.inSync === "ab");
  lab.run(200);
  expect([b.value("x"), b.machine.status.amnesiac]).toEqual(["1", false]);
});

test("nor does it serve by what its life before has asked for, and says that another may have everything", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.set("x", "1");
  lab.run(20);
  a.kill();
  lab.holdStore = true;
  lab.until("it asks to be the only one", () => b.machine.configurations.isChanging);
  b.kill();
  b.storage.records.length = 1;
  b.storage.state = new Lab().add("none").storage.state;
  b.storage.meta = { ...b.storage.meta, damaged: true };
  b.start(true);
  lab.run(20);
  lab.releaseStore();
  a.start();
  lab.run(5_000);
  expect([lab.inSync, lab.primaries]).toEqual(["b", ""]);
  expect(b.machine.status.problems.join()).toContain("a replica that is not may");
  // A person goes on from the one that has it.
  const configuration = {
    ...lab.store.configuration!,
    ...{ primary: a.machine.self, inSync: ["a"], changeId: "person" },
  };
  configuration.epoch++;
  lab.store = { ...lab.store, version: lab.store.version + 1, configuration };
  lab.tellAll();
  lab.until("all is well", () => lab.primaries === "a" && lab.inSync === "ab");
  lab.run(200);
  expect([a.value("x"), b.value("x"), b.machine.status.amnesiac]).toEqual(["1", "1", false]);
});
