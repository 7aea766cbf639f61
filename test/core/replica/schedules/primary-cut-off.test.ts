/** The primary is cut off, on one side or on both: the table of situations of DESIGN.md section 5. */
import { expect, test } from "bun:test";
import { Lab, type LabReplica } from "../lab.ts";

/** Time passes; at no moment do two serve. When each of them was seen to serve first and last. */
function watch(lab: Lab, ms: number): Map<string, { firstMs: number; lastMs: number }> {
  const startMs = lab.nowMs;
  const served = new Map<string, { firstMs: number; lastMs: number }>();
  while (lab.nowMs < startMs + ms) {
    lab.run(1);
    const { primaries } = lab;
    expect(primaries.length).toBeLessThanOrEqual(1);
    if (primaries === "") continue;
    const atMs = lab.nowMs - startMs;
    const seen = served.get(primaries);
    if (seen) seen.lastMs = atMs;
    else served.set(primaries, { firstMs: atMs, lastMs: atMs });
  }
  return served;
}

function acknowledged(lab: Lab, replica: LabReplica, key: string): void {
  const written = replica.set(key, "1", `client-${key}`, 1);
  lab.run(50);
  expect(written.result).toBe("1");
}

test("3 replicas, the primary cut from all: it stops at L, the first backup's change wins, the other follows", () => {
  const lab = Lab.of("abc");
  acknowledged(lab, lab.at("a"), "x");
  lab.cut("a", "bc");
  lab.cutStore("a");
  const served = watch(lab, 3_000);
  expect(served.get("a")!.lastMs).toBeLessThanOrEqual(lab.timings.aliveMs);
  expect(served.get("b")!.firstMs).toBeLessThanOrEqual(lab.timings.promiseMs + 50);
  expect(lab.at("c").machine.configurations.primary!.disk).toBe("b");
  expect(lab.at("b").read("x").value).toBe("1");
  acknowledged(lab, lab.at("c"), "y");
  lab.mend();
  lab.tellAll();
  lab.until("all are in sync", () => lab.inSync === "abc");
  expect(lab.at("a").value("y")).toBe("1");
});

test("2 replicas, link cut, both reach the store: the primary asks at L, the backup at G: the primary wins", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  lab.cut("a", "b");
  const served = watch(lab, 5_000);
  expect([...served.keys()]).toEqual(["a"]);
  expect(lab.inSync).toBe("a");
  expect(lab.at("b").role).toBe("learner");
});

test("2 replicas, only the backup reaches the store: the primary stops at L, the backup is primary after G", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  acknowledged(lab, lab.at("a"), "x");
  lab.cut("a", "b");
  lab.cutStore("a");
  const served = watch(lab, 5_000);
  expect(served.get("a")!.lastMs).toBeLessThanOrEqual(lab.timings.aliveMs);
  expect(served.get("b")!.firstMs).toBeGreaterThan(served.get("a")!.lastMs);
  expect(lab.at("b").read("x").value).toBe("1");
});

test("2 replicas, neither reaches the store: nobody serves, nothing is lost", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  acknowledged(lab, lab.at("a"), "x");
  lab.cut("a", "b");
  lab.cutStore("ab");
  lab.run(lab.timings.aliveMs);
  expect([...watch(lab, 5_000).keys()]).toEqual([]);
  expect(lab.at("b").machine.status.problems.join()).toContain("no coordinator answers");
  lab.mend();
  lab.until("one serves", () => lab.primaries !== "" && lab.inSync === "ab");
  expect(lab.at(lab.primaries).read("x").value).toBe("1");
});

test("no coordinator answers, all replicas alive: the instance goes on", () => {
  const lab = Lab.of("abc");
  lab.cutStore("abc");
  const served = watch(lab, 5_000);
  expect([...served.keys()]).toEqual(["a"]);
  acknowledged(lab, lab.at("b"), "x");
});

test("no coordinator answers, one dies: the instance pauses, loses nothing, and says so", () => {
  const lab = Lab.of("abc");
  acknowledged(lab, lab.at("a"), "x");
  lab.cutStore("abc");
  lab.at("c").kill();
  lab.run(lab.timings.aliveMs + 10);
  const written = lab.at("a").set("y", "1", "k1", 1);
  expect([...watch(lab, 3_000).keys()]).toEqual([]);
  expect(lab.at("a").machine.status.problems.join()).toContain("waiting for a coordinator");
  expect(written.result).not.toBe("1");
  lab.mend();
  lab.until("it goes on", () => lab.primaries === "a" && lab.inSync === "ab");
  expect(lab.at("b").value("x")).toBe("1");
});

test("only one way is cut, from the primary: as both ways", () => {
  const lab = Lab.of("abc");
  lab.cutOneWay("a", "b");
  lab.cutOneWay("a", "c");
  const served = watch(lab, 4_000);
  expect(served.get("a")!.lastMs).toBeLessThanOrEqual(4_000);
  expect(lab.primaries).not.toBe("");
});

test("1 replica: no leases, and nobody else is eligible; down until it returns", () => {
  const lab = Lab.of("a", { policy: { replicas: 2 } });
  const c = lab.add("c");
  lab.at("a").kill();
  c.start();
  expect([...watch(lab, 5_000).keys()]).toEqual([]);
  lab.at("a").start();
  lab.until("it serves", () => lab.primaries === "a", 1_000);
});

test("3 replicas, the primary cut from the others and not from the store: where it could not write alone, they go on", () => {
  const lab = Lab.of("abc", { policy: { minInSync: 2 } });
  acknowledged(lab, lab.at("a"), "x");
  lab.cut("a", "bc");
  const served = watch(lab, 3_000);
  expect(served.get("b")!.firstMs).toBeLessThanOrEqual(lab.timings.promiseMs + 50);
  expect(lab.inSync).toBe("bc");
  acknowledged(lab, lab.at("c"), "y");
});

test("… and where both others are gone, it removes them all the same, for its readers", () => {
  const lab = Lab.of("abc", { policy: { minInSync: 2 } });
  acknowledged(lab, lab.at("a"), "x");
  lab.at("b").kill();
  lab.at("c").kill();
  const { promiseMs, retryMs } = lab.timings;
  lab.until(
    "it serves readers",
    () => lab.inSync === "a" && lab.primaries === "a",
    promiseMs + 2 * retryMs + 50,
  );
  expect(lab.at("a").read("x").value).toBe("1");
});
