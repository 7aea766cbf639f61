/** Exactly once: retries, whoever they reach and whatever has failed (rule 6). */
import { expect, test } from "bun:test";
import { acknowledges, Lab, nameOf } from "./lab.ts";

test("a retry of what was carried out gets its result, at any replica", () => {
  const lab = Lab.of("abc");
  const first = lab.at("a").add("n", 1, "k1", 1);
  lab.run(10);
  expect(first.result).toBe("1");
  for (const disk of "abc") {
    const again = lab.at(disk).add("n", 1, "k1", 1);
    lab.run(10);
    expect(again.result).toBe("1");
  }
  expect(lab.at("c").value("n")).toBe("1");
});

test("a retry of what is under way makes no second record", () => {
  const lab = Lab.of("abc");
  const a = lab.at("a");
  const last = a.indices.last;
  lab.hold = (wire) => wire.to === "c" && nameOf(wire) === "append";
  const tries = [a.add("n", 1, "k1", 1), a.add("n", 1, "k1", 1)];
  lab.run(5);
  tries.push(lab.at("b").add("n", 1, "k1", 1));
  lab.run(5);
  expect(a.indices.last).toBe(last + 1);
  lab.hold = () => false;
  lab.run(10);
  expect(tries.map((written) => written.result)).toEqual(["1", "1", "1"]);
});

test("a write that its backup handed on is carried out once, though the primary dies over it", () => {
  const lab = Lab.of("abc");
  const b = lab.at("b");
  // Both have it in their logs, and a dies before anybody hears of the commit.
  lab.hold = (wire) => wire.to === "a" && acknowledges(wire);
  const written = b.add("n", 1, "k1", 1);
  lab.run(5);
  lab.at("a").kill();
  lab.hold = () => false;
  lab.certify("a1", "a");
  lab.until("it is answered", () => written.outcome !== null, 5_000);
  expect(written.result).toBe("1");
  expect(b.value("n")).toBe("1");
  expect(b.storage.state.executed).toEqual(["k1 1"]);
});

test("a retry at the new primary finds the record that the old one left, also uncommitted", () => {
  const lab = Lab.of("abc");
  const [a, b] = [lab.at("a"), lab.at("b")];
  lab.hold = (wire) => wire.to === "a" && acknowledges(wire);
  const first = a.add("n", 1, "k1", 1);
  lab.run(5);
  a.kill();
  lab.hold = () => false;
  const again = b.add("n", 1, "k1", 1);
  lab.certify("a1", "a");
  lab.until("it is answered", () => again.outcome !== null, 5_000);
  expect([first.outcome, again.result, b.value("n")]).toEqual([null, "1", "1"]);
  expect(b.storage.records.filter((record) => record.client === "k1")).toHaveLength(1);
});

test("results below what the client has acknowledged are gone: unknown, and not carried out again", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const a = lab.at("a");
  a.add("n", 1, "k1", 1);
  lab.run(10);
  a.add("n", 1, "k1", 2, 2);
  lab.run(10);
  expect(a.storage.state.sessions.get("k1")!.results.size).toBe(1);
  const late = a.add("n", 1, "k1", 1);
  lab.run(10);
  expect([late.result, a.value("n")]).toEqual(["unknown", "2"]);
});

test("a removed client has no operations any more", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.add("n", 1, "k1", 1);
  lab.run(10);
  const removed = b.removeClient("k1");
  lab.run(10);
  expect(removed.outcome?.type).toBe("ok");
  const late = b.add("n", 1, "k1", 1);
  lab.run(10);
  expect([late.result, a.value("n")]).toEqual(["unknown", "1"]);
  for (const { storage } of [a, b])
    expect([storage.state.sessions.size, storage.state.removed]).toEqual([0, ["k1"]]);
});

test("one that was removed while its operation was under way has it carried out before or not at all", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const a = lab.at("a");
  a.removeClient("k1");
  const late = a.add("n", 1, "k1", 1);
  lab.run(10);
  expect([late.result, a.value("n")]).toEqual(["unknown", undefined]);
});

test("sessions outlive restarts, power cuts and snapshots", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.add("n", 1, "k1", 1);
  lab.run(10);
  b.takeSnapshot();
  lab.run(10);
  a.kill();
  b.powerCut();
  lab.run(100);
  b.startAfterPowerCut();
  lab.until("it serves", () => lab.primaries === "b", 5_000);
  const again = b.add("n", 1, "k1", 1);
  lab.run(10);
  expect([again.result, b.value("n")]).toEqual(["1", "1"]);
});

test("too far ahead of what is acknowledged is refused", () => {
  const lab = Lab.of("a", { policy: { replicas: 1 } });
  const far = lab.at("a").add("n", 1, "k1", 5_000);
  lab.run(10);
  expect(far.outcome).toMatchObject({ type: "refused", reason: "busy" });
});

test("an answer that comes for another life of the replica is not taken for one of its own", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const b = lab.at("b");
  lab.hold = (wire) => wire.to === "b" && nameOf(wire) === "forwarded";
  b.set("x", "of the first life", "k1", 1);
  lab.run(10);
  const late = lab.wires.filter((wire) => nameOf(wire) === "forwarded");
  b.kill();
  b.start();
  lab.run(50);
  b.forgetTickets();
  const other = b.set("y", "of the second", "k2", 1);
  b.receive("a", late[0]!.message);
  b.work();
  expect(other.outcome).toBeNull();
  lab.run(10);
  expect(other.outcome).toBeNull();
  lab.hold = () => false;
  lab.run(500);
  expect(other.result).toBe("of the second");
});
