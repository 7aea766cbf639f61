/**
 * A certificate of the old incarnation: it says that a host process has ended, and comes late, when its successor on
 * the same disk is primary. It lets nobody skip a wait (section 6).
 */
import { expect, test } from "bun:test";
import { Lab } from "../lab.ts";

/** a2 is primary, after a1 was. */
function restarted(): Lab {
  const lab = Lab.of("abc");
  lab.at("a").kill();
  lab.cut("bc", "bc");
  lab.cutStore("bc");
  lab.run(10);
  lab.at("a").start();
  lab.until("it is primary again", () => lab.store.configuration?.primary.incarnation === "a2", 3_000);
  lab.mend();
  lab.until("it serves", () => lab.primaries === "a", 5_000);
  lab.until("all are in sync", () => lab.inSync === "abc", 5_000);
  lab.run(500);
  return lab;
}

test("the certificate of the incarnation that is primary lets a backup go at once", () => {
  const lab = restarted();
  lab.at("a").kill();
  lab.certify("a2", "a");
  const certifiedMs = lab.nowMs;
  lab.until("another serves", () => lab.primaries !== "", 3_000);
  expect(lab.nowMs - certifiedMs).toBeLessThan(100);
});

test("that of its predecessor does not: G is kept, and there are never two", () => {
  const lab = restarted();
  lab.cut("a", "bc");
  lab.cutStore("a");
  lab.certify("a1", "a");
  const cutMs = lab.nowMs;
  while (lab.primaries !== "b" && lab.nowMs < cutMs + 5_000) {
    lab.run(1);
    expect(lab.primaries.length).toBeLessThanOrEqual(1);
  }
  expect(lab.primaries).toBe("b");
  expect(lab.nowMs - cutMs).toBeGreaterThan(lab.timings.promiseMs - 2 * lab.timings.beaconMs);
});

test("nor does one of another replica", () => {
  const lab = restarted();
  lab.cut("a", "bc");
  lab.cutStore("a");
  const cutMs = lab.nowMs;
  lab.certify("a2", "c");
  lab.certify("c9", "c");
  lab.run(lab.timings.promiseMs - 2 * lab.timings.beaconMs);
  expect(lab.changes.at(-1)!.primary.disk).toBe("a");
  lab.until("another serves", () => lab.primaries === "b", 3_000);
  expect(lab.nowMs).toBeGreaterThan(cutMs + 800);
});
