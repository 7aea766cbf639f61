/**
 * SIGSTOP past G: a host process goes on where it was, and the world has not waited. Each step looks at the clock
 * first (rules 2, 8).
 */
import { expect, test } from "bun:test";
import { Lab } from "../lab.ts";

test("a primary that was stopped answers no read, gives up its tail and becomes one of the others again", () => {
  const lab = Lab.of("abc");
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.set("x", "old");
  lab.run(100);
  // Drawn up before it was stopped, and sent to nobody.
  lab.cut("a", "bc");
  const lost = a.set("x", "lost", "k1", 1);
  lab.run(10);
  a.stop();
  lab.mend();
  lab.until("another serves", () => lab.primaries === "b", 5_000);
  const written = b.set("x", "new", "k2", 1);
  lab.run(20);
  expect(written.result).toBe("new");
  a.resume();
  expect(a.read("x").outcome).toBeNull();
  expect(lab.primaries).toBe("b");
  lab.until("it is in sync again", () => lab.inSync === "abc", 5_000);
  expect(a.role).toBe("backup");
  lab.run(500);
  // It is carried out once, by the new primary; or its client has heard nothing.
  expect([a.value("x"), b.value("x")]).toEqual([lost.result ?? "new", lost.result ?? "new"]);
});

test("what the primary had applied for nobody is not seen", () => {
  const lab = Lab.of("abc");
  const a = lab.at("a");
  a.set("x", "old");
  lab.run(100);
  a.stop();
  lab.run(3_000);
  const b = lab.at(lab.primaries);
  b.set("x", "new", "k2", 1);
  lab.run(20);
  a.resume();
  const read = a.read("x");
  expect(read.value).toBeNull();
  lab.run(100);
  expect(read.value).toBe("new");
});

test("a backup that was stopped answers no read by its old lease", () => {
  const lab = Lab.of("abc");
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.set("x", "old");
  lab.run(100);
  b.stop();
  const written = a.set("x", "new", "k1", 1);
  lab.until("the write is answered", () => written.outcome !== null, 3_000);
  b.resume();
  // Nothing has told it yet.
  expect(b.read("x").outcome).toBeNull();
});

test("a writer waits no longer than L and the way to the store for a backup that is stopped", () => {
  const lab = Lab.of("abc");
  const a = lab.at("a");
  lab.at("c").stop();
  const startMs = lab.nowMs;
  const written = a.set("x", "1", "k1", 1);
  lab.until("the write is answered", () => written.outcome !== null, 3_000);
  expect(lab.nowMs - startMs).toBeLessThanOrEqual(lab.timings.aliveMs + 20);
  expect(lab.inSync).toBe("ab");
});

test("a gap of more than L/2 between two looks at the clock lapses the leases, though it is shorter than L", () => {
  const lab = Lab.of("ab");
  const [a, b] = [lab.at("a"), lab.at("b")];
  lab.run(50);
  expect([a.machine.isServing, b.machine.isServing]).toEqual([true, true]);
  a.stop();
  lab.run(lab.timings.aliveMs / 2 + 10);
  a.resume();
  expect(a.read("x").outcome).toBeNull();
  lab.run(20);
  expect(a.machine.isServing).toBe(true);
  expect(lab.inSync).toBe("ab");
});
