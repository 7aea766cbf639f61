/** A new primary makes the logs of the others its own, and begins its epoch (rule 3). */
import { expect, test } from "bun:test";
import { acknowledges, Lab, nameOf } from "./lab.ts";

test("longer tails, which were never committed, are cut off; shorter ones are filled", () => {
  const lab = Lab.of("abc");
  const [a, b, c] = [lab.at("a"), lab.at("b"), lab.at("c")];
  a.set("x", "1");
  lab.run(20);
  // c gets two records that b does not.
  lab.hold = (wire) => wire.to === "b" && nameOf(wire) === "append";
  a.set("x", "2");
  a.set("x", "3");
  lab.run(5);
  expect(c.indices.last - b.indices.last).toBe(2);
  a.kill();
  lab.hold = () => false;
  lab.certify("a1", "a");
  lab.until("b serves", () => lab.primaries === "b", 3_000);
  lab.run(50);
  expect(c.indices).toEqual(b.indices);
  expect([b.value("x"), c.value("x")]).toEqual(["1", "1"]);
  a.start();
  lab.until("all are in sync", () => lab.inSync === "abc");
  expect(a.value("x")).toBe("1");
});

test("with the longer log it commits what its predecessor had not", () => {
  const lab = Lab.of("abc");
  const [a, b, c] = [lab.at("a"), lab.at("b"), lab.at("c")];
  lab.hold = (wire) => wire.to === "c" && nameOf(wire) === "append";
  a.set("x", "2");
  lab.run(5);
  expect(b.indices.last - c.indices.last).toBe(1);
  a.kill();
  lab.hold = () => false;
  lab.certify("a1", "a");
  lab.until("b serves", () => lab.primaries === "b", 3_000);
  lab.run(20);
  expect([b.value("x"), c.value("x")]).toEqual(["2", "2"]);
});

test("a member that does not answer is removed by compare-and-set before anything is served", () => {
  const lab = Lab.of("abc");
  const c = lab.at("c");
  c.stop();
  lab.run(50);
  lab.at("a").kill();
  lab.certify("a1", "a");
  lab.run(lab.timings.aliveMs - 100);
  expect([lab.primaries, lab.inSync]).toEqual(["", "bc"]);
  lab.until("b serves", () => lab.primaries === "b", 3_000);
  expect(lab.inSync).toBe("b");
});

test("it serves only once its epoch is committed", () => {
  const lab = Lab.of("abc");
  lab.hold = (wire) => wire.from === "c" && acknowledges(wire);
  lab.at("a").kill();
  lab.certify("a1", "a");
  const written = lab.at("b").set("x", "1", "k1", 1);
  lab.run(500);
  expect([lab.at("b").role, lab.primaries, written.outcome]).toEqual(["promoting", "", null]);
  lab.hold = () => false;
  lab.run(20);
  expect([lab.primaries, written.result]).toEqual(["b", "1"]);
});

test("what an old primary has sent, and comes late, is refused", () => {
  const lab = Lab.of("abc");
  const [a, b, c] = [lab.at("a"), lab.at("b"), lab.at("c")];
  lab.run(100);
  lab.hold = (wire) => wire.from === "a" && nameOf(wire) === "append";
  const lost = a.set("x", "lost", "k9", 1);
  lab.run(5);
  const late = lab.wires.filter((wire) => nameOf(wire) === "append");
  expect(late.length).toBeGreaterThan(1);
  a.kill();
  lab.certify("a1", "a");
  lab.until("b serves", () => lab.primaries === "b", 3_000);
  const before = c.indices.last;
  for (const { to, message } of late) lab.at(to).receive("a", message);
  lab.hold = () => false;
  lab.wires = [];
  lab.run(50);
  expect([c.indices.last, c.failure]).toEqual([before, ""]);
  const written = b.set("x", "new", "k1", 1);
  lab.run(20);
  expect([written.result, c.value("x"), lost.outcome]).toEqual(["new", "new", null]);
});

test("an epoch is fsynced before anything is done in it", () => {
  const lab = Lab.of("abc");
  const c = lab.at("c");
  c.metas = false;
  lab.at("a").kill();
  lab.certify("a1", "a");
  lab.run(300);
  expect([c.role, c.storage.meta.epochSeen, lab.primaries]).toEqual(["nobody", 1, ""]);
  // Its word is not on the disk: after a power cut it knows nothing of it, and has promised nothing.
  expect(lab.at("b").machine.status.peers.find(({ disk }) => disk === "c")!.written).toBe(0);
  c.metas = true;
  lab.run(100);
  expect(lab.primaries).toBe("b");
});

test("killed, the primary is replaced within 300 ms by its certificate", () => {
  const lab = Lab.of("abc");
  lab.run(500);
  lab.at("a").kill();
  const killedMs = lab.nowMs;
  lab.run(50);
  lab.certify("a1", "a");
  const written = lab.at("c").set("x", "1", "k1", 1);
  lab.until("a write is answered", () => written.result === "1", 3_000);
  expect(lab.nowMs - killedMs).toBeLessThanOrEqual(100);
});

test("its machine stopped, it is replaced within 3 s", () => {
  const lab = Lab.of("abc");
  lab.run(500);
  lab.at("a").stop();
  const stoppedMs = lab.nowMs;
  const written = lab.at("c").set("x", "1", "k1", 1);
  lab.until("a write is answered", () => written.result === "1", 5_000);
  expect(lab.nowMs - stoppedMs).toBeLessThanOrEqual(1_400);
});

test("a primary whose own disk takes nothing leaves its place to another", () => {
  const lab = Lab.of("abc");
  const a = lab.at("a");
  a.writes = false;
  const written = a.set("x", "1", "k1", 1);
  lab.until("another serves", () => lab.primaries === "b", lab.timings.stuckMs + 3_000);
  lab.until("the write is answered", () => written.outcome !== null, 3_000);
  expect([written.result, lab.inSync]).toEqual(["1", "bc"]);
  a.writes = true;
  lab.until("it is back", () => lab.inSync === "abc");
});

test("a refused change is asked for again, at the pace of retries, and under the same id", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  lab.refuse = true;
  lab.at("b").kill();
  lab.run(3_000);
  expect(lab.refused.size).toBe(1);
  expect([...lab.refused.values()][0]).toBeLessThan(3_000 / lab.timings.retryMs + 2);
  lab.refuse = false;
  lab.until("it is alone", () => lab.inSync === "a" && lab.primaries === "a", 1_000);
});

test("the time of records does not go back, though the next primary's clock does, and before all is applied", () => {
  const lab = Lab.of("abc");
  const [a, b] = [lab.at("a"), lab.at("b")];
  lab.hold = (wire) => wire.to === "a" && acknowledges(wire);
  a.wallAheadMs = 60_000;
  a.set("x", "1");
  lab.run(5);
  a.kill();
  lab.hold = () => false;
  lab.certify("a1", "a");
  lab.until("b serves", () => lab.primaries === "b", 3_000);
  const times = b.storage.records.map((record) => record.timeMs);
  expect(times).toEqual([...times].sort((x, y) => x - y));
});
