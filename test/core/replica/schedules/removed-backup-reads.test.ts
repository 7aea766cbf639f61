/**
 * A removed backup reads: it is cut off from everybody and still believes to be in sync. Nothing may be acknowledged
 * that it could contradict (rule 2b: from the decision to remove it the primary grants nothing, and waits R).
 */
import { expect, test } from "bun:test";
import { Lab, type Written } from "../lab.ts";

/** Four in sync, b has read lately; then b is not wanted any more, and cut off at the same moment. */
function removeAndCutOff(): Lab {
  const lab = Lab.of("abcd");
  lab.at("a").set("x", "old");
  lab.run(150);
  expect(lab.at("b").read("x").value).toBe("old");
  lab.wanted = ["a", "c", "d"];
  lab.cut("b", "acd");
  lab.cutStore("b");
  for (const disk of "acd") lab.at(disk).machine.replicasWanted(lab.at(disk).nowMs, lab.wanted);
  return lab;
}

/** Until b has no lease any more: b does not answer with the old value once the new one is acknowledged. */
function neverStale(lab: Lab, written: Written): void {
  const b = lab.at("b");
  let reads = 0;
  for (let i = 0; i < 1_000; i++) {
    lab.run(1);
    const read = b.read("x");
    if (read.outcome?.type !== "ok") continue;
    reads++;
    expect([read.value, written.result]).toEqual(["old", undefined]);
  }
  expect(reads).toBeGreaterThan(100);
  expect(written.result).toBe("new");
  expect(lab.inSync).toBe("acd");
}

test("a backup that is removed and cut off reads nothing older than what was acknowledged without it", () => {
  const lab = removeAndCutOff();
  neverStale(lab, lab.at("a").set("x", "new"));
});

test("the same while its clock runs one percent slower", () => {
  const lab = removeAndCutOff();
  lab.at("b").slowDown(0.99);
  neverStale(lab, lab.at("a").set("x", "new"));
});

test("the primary that has removed it dies at once: nor does the next one acknowledge what it could contradict", () => {
  const lab = removeAndCutOff();
  lab.run(10);
  expect(lab.inSync).toBe("acd");
  lab.at("a").kill();
  lab.certify("a1", "a");
  // b does not hear of it: it is cut off.
  lab.until("another is promoted", () => lab.store.configuration?.primary.disk === "c", 200);
  const written = lab.at("c").set("x", "new", "k1", 1);
  const b = lab.at("b");
  let reads = 0;
  for (let i = 0; i < 1_000; i++) {
    lab.run(1);
    const read = b.read("x");
    if (read.outcome?.type !== "ok") continue;
    reads++;
    expect(written.outcome).toBeNull();
  }
  expect(reads).toBeGreaterThan(50);
  expect(written.result).toBe("new");
});

test("a silent backup's lease has run out before it is removed: nothing waits for it", () => {
  const lab = Lab.of("abc");
  lab.run(50);
  lab.cut("b", "ac");
  const written = lab.at("a").set("x", "1");
  const cutMs = lab.nowMs;
  lab.until("the write is answered", () => written.outcome !== null);
  expect(lab.nowMs - cutMs).toBeLessThanOrEqual(lab.timings.aliveMs + 20);
});
