/** Writes that are refused, wait, or are handed on; what bounds them (rules 6, 7). */
import { expect, test } from "bun:test";
import { uncommittedBytesMax } from "../../../core/replica/timings.ts";
import { Lab, nameOf } from "./lab.ts";

test("below min-in-sync writes fail at once, reads go on, and it says why", () => {
  const lab = Lab.of("abc", { policy: { minInSync: 2 } });
  const a = lab.at("a");
  lab.at("b").kill();
  lab.at("c").kill();
  lab.until("it is alone", () => lab.inSync === "a" && lab.primaries === "a");
  const written = a.set("x", "1");
  expect(written.outcome).toMatchObject({ type: "refused", reason: "below-min-in-sync" });
  expect(a.read("x").outcome?.type).toBe("ok");
  expect(a.machine.status.problems.join()).toContain("1 of 2 replicas are in sync");
  lab.at("b").start();
  lab.until("one is back", () => lab.inSync === "ab");
  lab.run(20);
  const again = a.set("x", "1");
  lab.run(10);
  expect(again.result).toBe("1");
});

test("a write at a backup is refused by the primary's word", () => {
  const lab = Lab.of("abc", { policy: { minInSync: 3 } });
  lab.at("c").kill();
  lab.until("two are left", () => lab.inSync === "ab");
  lab.run(20);
  const written = lab.at("b").set("x", "1", "k1", 1);
  lab.run(10);
  expect(written.outcome).toMatchObject({ type: "refused", reason: "below-min-in-sync" });
});

test("a full disk refuses writes, and reads go on", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const a = lab.at("a");
  a.machine.diskFull(a.nowMs, true);
  expect(a.set("x", "1").outcome).toMatchObject({ type: "refused", reason: "disk-full" });
  expect(a.read("x").outcome?.type).toBe("ok");
  a.machine.diskFull(a.nowMs, false);
  const written = a.set("x", "1");
  lab.run(10);
  expect(written.result).toBe("1");
});

test("what waits for a commit is bounded", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const a = lab.at("a");
  a.writes = false;
  const value = "v".repeat(500_000);
  let refused = 0;
  for (let bytes = 0; bytes < 2 * uncommittedBytesMax; bytes += value.length) {
    if (a.set("x", value).outcome?.type === "refused") refused++;
  }
  expect(refused).toBeGreaterThan(20);
  a.writes = true;
  lab.run(200);
  const written = a.set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
});

test("a refusal of one try is none of the write, if there was another", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.machine.diskFull(a.nowMs, true);
  lab.hold = (wire) => wire.from === "a" && nameOf(wire) === "forwarded";
  const written = b.set("x", "1", "k1", 1);
  lab.run(10);
  a.machine.diskFull(a.nowMs, false);
  lab.until("it was sent again", () => b.value("x") === "1", 2_000);
  lab.hold = () => false;
  lab.run(10);
  expect(written.outcome?.type).toBe("uncertain");
});

test("without a primary a write that was sent to nobody is refused after its time, one that was is uncertain", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.kill();
  lab.cutStore("b");
  const sent = b.set("x", "1", "k1", 1);
  lab.run(lab.timings.elsewhereMs + 50);
  expect(sent.outcome?.type).toBe("uncertain");
  b.kill();
  b.start();
  const unsent = b.set("x", "1", "k1", 2);
  lab.run(lab.timings.elsewhereMs + 50);
  expect(unsent.outcome).toMatchObject({ type: "refused", reason: "no-primary" });
});

test("a replica that is cut off from the primary alone lets its clients ask another one soon", () => {
  const lab = Lab.of("abc");
  const [b, c] = [lab.at("b"), lab.at("c")];
  lab.cut("a", "b");
  lab.run(lab.timings.readLeaseMs);
  const stuck = b.set("x", "1", "k1", 1);
  const read = b.read("x");
  lab.run(lab.timings.elsewhereMs + 50);
  expect([stuck.outcome?.type, read.outcome?.type]).toEqual(["uncertain", "refused"]);
  const elsewhere = c.set("x", "1", "k1", 1);
  const late = b.set("x", "2", "k2", 1);
  lab.run(50);
  expect(elsewhere.outcome?.type).toBe("ok");
  // No takeover is needed for that, nor is one in sight.
  expect(lab.primaries).toBe("a");
  // By now it is known that this one hears nobody.
  lab.run(lab.timings.retryMs);
  expect(late.outcome?.type).toBe("uncertain");
});

test("one that nobody repeats is not sent twice: its outcome is unknown", () => {
  const lab = Lab.of("abc");
  const b = lab.at("b");
  const written = b.add("n", 1, "", 0, 0);
  lab.cut("a", "bc");
  lab.cutStore("a");
  lab.until("another is primary", () => lab.primaries === "b", 5_000);
  lab.run(100);
  expect(written.outcome?.type).toBe("unknown");
});

test("a primary that is to be stopped finishes what is under way, and sends clients elsewhere", () => {
  const lab = Lab.of("abc");
  const [a, b] = [lab.at("a"), lab.at("b")];
  const under = a.set("x", "1", "k1", 1);
  a.machine.retire(a.nowMs);
  expect(a.set("x", "2", "k1", 2).outcome).toMatchObject({ type: "refused", reason: "stopping" });
  expect(a.read("x").outcome).toMatchObject({ type: "refused", reason: "stopping" });
  expect(a.machine.isIdle).toBe(false);
  const forwarded = b.set("x", "3", "k2", 1);
  lab.run(10);
  expect([under.result, a.machine.isIdle]).toEqual(["1", true]);
  expect(forwarded.outcome).toMatchObject({ type: "refused", reason: "stopping" });
});

test("what no record can carry is refused where it enters", () => {
  const { machine, nowMs } = Lab.of("a", { policy: { replicas: 1 } }).at("a");
  const write = {
    ticket: 1,
    client: "k",
    sequence: 1,
    ackedBelow: 1,
    module: "map",
    operation: new Uint8Array(1),
  };
  for (const wrong of [
    { client: "ä" },
    { client: "k".repeat(256) },
    { sequence: 0 },
    { sequence: 1.5 },
    { ackedBelow: 2 },
    { module: "" },
    { operation: new Uint8Array(1024 * 1024 + 1) },
  ]) {
    expect(() => machine.write(nowMs, { ...write, ...wrong })).toThrow(/Cannot write/);
  }
});
