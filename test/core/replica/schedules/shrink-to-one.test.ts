/**
 * Shrink to one, then crash: what was acknowledged in the memory of three is then in that of one, so from before that
 * change on `fsync` is in force (rule 7).
 */
import { expect, test } from "bun:test";
import { Lab } from "../lab.ts";

const policy = { durability: "replicated" } as const;

test("the last replica makes its log durable before the others are removed", () => {
  const lab = Lab.of("abc", { policy });
  const a = lab.at("a");
  a.syncs = false;
  const written = a.set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
  lab.at("b").kill();
  lab.at("c").kill();
  lab.run(3_000);
  expect(lab.inSync).toBe("abc");
  a.syncs = true;
  lab.until("it is alone", () => lab.inSync === "a");
  a.powerCut();
  lab.run(100);
  a.startAfterPowerCut();
  lab.until("it serves", () => lab.primaries === "a", 5_000);
  expect(a.read("x").value).toBe("1");
});

test("while it is alone, a write is answered when it is durable", () => {
  const lab = Lab.of("abc", { policy });
  const a = lab.at("a");
  lab.at("b").kill();
  lab.at("c").kill();
  lab.until("it is alone", () => lab.inSync === "a" && lab.primaries === "a");
  a.syncs = false;
  const written = a.set("x", "1");
  lab.run(500);
  expect(written.outcome).toBeNull();
  expect(a.machine.status.durability).toBe("fsync");
  a.syncs = true;
  lab.run(10);
  expect(written.result).toBe("1");
});

test("with another one in sync again, written is enough again", () => {
  const lab = Lab.of("ab", { policy: { ...policy, replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  b.kill();
  lab.until("it is alone", () => lab.inSync === "a");
  b.start();
  lab.until("both are in sync", () => lab.inSync === "ab");
  lab.run(50);
  a.syncs = b.syncs = false;
  const written = a.set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
});

test("what `replicated` may lose is acknowledged only where the disk says that it may", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  const change = (durability: "fsync" | "replicated") => {
    lab.policy = { ...lab.policy, durability };
    for (const { machine, nowMs } of [a, b]) machine.policyChanged(nowMs, lab.policy);
  };
  a.metas = b.metas = false;
  change("replicated");
  a.syncs = b.syncs = false;
  const first = a.set("x", "1");
  lab.run(20);
  expect([first.outcome, b.storage.meta.mode]).toEqual([null, "fsync"]);
  a.metas = b.metas = true;
  lab.run(20);
  expect([first.result, b.storage.meta.mode]).toEqual(["1", "replicated"]);
  // And back: not before all that was acknowledged so is durable.
  change("fsync");
  const second = a.set("x", "2");
  lab.run(20);
  expect([second.outcome, a.storage.meta.mode, b.storage.meta.mode]).toEqual([
    null,
    "replicated",
    "replicated",
  ]);
  a.syncs = b.syncs = true;
  lab.run(20);
  expect([second.result, a.storage.meta.mode, b.storage.meta.mode]).toEqual(["2", "fsync", "fsync"]);
});

test("nor while the disk is being told that it may not any more", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2, durability: "replicated" } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  // b has heard of it first.
  b.metas = false;
  b.machine.policyChanged(b.nowMs, { ...lab.policy, durability: "fsync" });
  b.syncs = false;
  const written = a.set("x", "1");
  lab.run(50);
  expect(written.outcome).toBeNull();
  b.syncs = true;
  lab.run(50);
  expect(written.result).toBe("1");
});

const two = { policy: { ...policy, replicas: 2 } };

test("who proposes itself as the only one has its log on the disk first", () => {
  const lab = Lab.of("ab", two);
  const [a, b] = [lab.at("a"), lab.at("b")];
  b.syncs = false;
  const written = a.set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
  a.kill();
  lab.run(5_000);
  expect(lab.inSync).toBe("ab");
  b.syncs = true;
  lab.until("it is alone", () => lab.inSync === "b");
  b.powerCut();
  b.startAfterPowerCut();
  lab.until("it serves", () => lab.primaries === "b");
  expect(b.read("x").value).toBe("1");
});

test("and while that proposal is open, it acknowledges only what is on its disk", () => {
  // The primary could not write alone, so that it leaves the first move to the other.
  const lab = Lab.of("ab", { policy: { ...two.policy, minInSync: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  lab.holdStore = true;
  lab.cut("a", "b");
  lab.until("it has asked to be alone", () => b.machine.configurations.isChanging);
  // The primary is back, and the change is on its way.
  lab.mend();
  b.syncs = false;
  const written = a.set("x", "1");
  lab.run(200);
  expect([written.outcome, b.indices.last]).toEqual([null, a.indices.last]);
  b.syncs = true;
  lab.run(50);
  expect(written.result).toBe("1");
});
