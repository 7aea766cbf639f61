/** Replicas that are not in sync yet: catching up, snapshots, joining, and who is refused. */
import { expect, test } from "bun:test";
import { Lab, nameOf } from "./lab.ts";

function want(lab: Lab): void {
  for (const replica of lab.replicas.values()) {
    if (replica.isRunning) replica.machine.replicasWanted(replica.nowMs, lab.wanted);
  }
}

test("a new replica gets the whole log, and joins while writes go on", () => {
  const lab = Lab.of("ab", { policy: { replicas: 3 } });
  const a = lab.at("a");
  for (let i = 0; i < 2_000; i++) a.set(`k${i}`, String(i));
  lab.run(50);
  const c = lab.add("c");
  want(lab);
  c.start();
  for (let i = 0; lab.inSync !== "abc"; i++) {
    a.set("n", String(i));
    lab.run(5);
    expect(i).toBeLessThan(200);
  }
  lab.run(50);
  expect(c.indices).toEqual(a.indices);
  expect(c.value("k1999")).toBe("1999");
});

test("what the primary has only on its disk is read from there", () => {
  const lab = Lab.of("a", { policy: { replicas: 2 } });
  const a = lab.at("a");
  for (let i = 0; i < 100; i++) a.set(`k${i}`, "v".repeat(20_000));
  lab.run(50);
  a.kill();
  a.start();
  lab.until("it serves", () => lab.primaries === "a", 2_000);
  const c = lab.add("c");
  want(lab);
  c.start();
  lab.until("it is in", () => lab.inSync === "ac", 5_000);
  expect(c.value("k99")).toHaveLength(20_000);
});

test("what is no longer in the log comes as a snapshot", () => {
  const lab = Lab.of("a", { policy: { replicas: 2 } });
  const a = lab.at("a");
  for (let i = 0; i < 50; i++) a.add("n", 1, "k1", i + 1, 1);
  lab.run(50);
  a.takeSnapshot();
  expect(a.storage.records).toHaveLength(0);
  a.add("n", 1, "k1", 51, 1);
  lab.run(10);
  const c = lab.add("c");
  want(lab);
  c.start();
  lab.until("it is in", () => lab.inSync === "ac", 5_000);
  expect(a.snapshotsSent).toBe(1);
  lab.run(50);
  expect([c.value("n"), c.indices]).toEqual(["51", a.indices]);
});

test("a replica that was away for long is mended where it can be, also when it had a tail of its own", () => {
  const lab = Lab.of("abc");
  const a = lab.at("a");
  lab.cut("a", "bc");
  for (let i = 0; i < 5; i++) a.set("lost", String(i), "k9", i + 1);
  lab.run(20);
  a.kill();
  lab.run(3_000);
  const b = lab.at(lab.primaries);
  for (let i = 0; i < 20; i++) b.set("x", String(i));
  lab.run(50);
  lab.mend();
  a.start();
  lab.until("it is in", () => lab.inSync === "abc");
  lab.run(50);
  expect([a.value("x"), a.value("lost")]).toEqual(["19", undefined]);
});

test("who is not wanted is not taken in", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const c = lab.add("c");
  lab.wanted = ["a", "b"];
  want(lab);
  c.start();
  lab.run(3_000);
  expect(lab.inSync).toBe("ab");
});

test("one that is to leave goes when others are in its place", () => {
  const lab = Lab.of("abc");
  const d = lab.add("d");
  lab.wanted = ["a", "b", "d"];
  want(lab);
  lab.run(1_000);
  expect(lab.inSync).toBe("abc");
  d.start();
  lab.until("it has been replaced", () => lab.inSync === "abd");
  expect(lab.changes.slice(-2).map((change) => change.inSync.join(""))).toEqual(["abcd", "abd"]);
});

test("an acknowledgement that was lost with its link is made again, though nothing new is written", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2, minInSync: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.set("x", "1");
  lab.run(50);
  b.kill();
  lab.until("it is alone", () => lab.inSync === "a");
  b.start();
  lab.hold = (wire) => wire.from === "b" && nameOf(wire) === "appended";
  lab.run(50);
  lab.wires = [];
  lab.until("it is in", () => lab.inSync === "ab", 2_000);
});

test("a learner that falls silent while it is taken in stops nobody", () => {
  const lab = Lab.of("ab", { policy: { replicas: 3 } });
  const c = lab.add("c");
  want(lab);
  lab.hold = (wire) => wire.from === "c" && nameOf(wire) === "appended";
  c.start();
  lab.run(500);
  c.stop();
  const written = lab.at("a").set("x", "1");
  lab.run(lab.timings.aliveMs);
  expect(written.result).toBe("1");
});

test("one whose disk hangs is removed: writers do not wait for ever", () => {
  const lab = Lab.of("abc");
  lab.at("c").writes = false;
  const written = lab.at("a").set("x", "1");
  lab.until("the write is answered", () => written.outcome !== null, lab.timings.stuckMs + 1_000);
  expect([written.result, lab.inSync]).toEqual(["1", "ab"]);
  lab.at("c").writes = true;
  lab.until("it is back", () => lab.inSync === "abc");
});

test("a backup whose host process ended and that is back at once is removed and taken in again", () => {
  const lab = Lab.of("abc");
  const c = lab.at("c");
  c.kill();
  lab.certify("c1", "c");
  const written = lab.at("a").set("x", "1");
  lab.run(10);
  expect([written.result, lab.inSync]).toEqual(["1", "ab"]);
  c.start();
  lab.until("it is back", () => lab.inSync === "abc", 1_000);
  expect(c.value("x")).toBe("1");
});

test("what was committed and whose loss was accepted gives way to a snapshot", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  b.kill();
  lab.until("it is alone", () => lab.inSync === "a");
  for (let i = 0; i < 20; i++) a.set("x", `lost ${i}`);
  lab.run(20);
  a.kill();
  b.start();
  lab.run(3_000);
  expect(lab.primaries).toBe("");
  // `dvs instance recover --from b --accept-loss`
  const { generation, version, configuration } = lab.store;
  const primary = { disk: "b", incarnation: b.incarnation };
  lab.store = {
    generation,
    version: version + 1,
    configuration: { ...configuration!, epoch: 9, primary, inSync: ["b"], changeId: "recovered" },
  };
  lab.tellAll();
  lab.until("it serves", () => lab.primaries === "b", 3_000);
  b.set("x", "new");
  lab.run(20);
  a.start();
  lab.until("the other has learned anew", () => lab.inSync === "ab", 3_000);
  lab.run(50);
  expect([a.value("x"), a.failure]).toEqual(["new", ""]);
});
