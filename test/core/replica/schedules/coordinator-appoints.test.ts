/**
 * The coordinator appoints another while the primary is healthy: it could not reach it, and thought it dead. Whoever
 * appointed it, the new one serves only G after the last beacon that it has acknowledged (rule 2a).
 */
import { expect, test } from "bun:test";
import { Lab } from "../lab.ts";

function appoint(lab: Lab, disk: string, inSync: string): void {
  const { generation, version, configuration } = lab.store;
  lab.store = {
    generation,
    version: version + 1,
    configuration: {
      epoch: configuration!.epoch + 1,
      primary: { disk, incarnation: lab.at(disk).incarnation },
      generation,
      inSync: inSync.split(""),
      changeId: "appointed",
    },
  };
  lab.tellAll();
}

test("there are never two that serve, and no read goes back behind an acknowledged write", () => {
  const lab = Lab.of("abc");
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.set("x", "old");
  lab.run(150);
  lab.cut("a", "bc");
  lab.cutStore("a");
  appoint(lab, "b", "bc");
  const written = b.set("x", "new", "k1", 1);
  const startMs = lab.nowMs;
  let readsAtA = 0;
  for (let i = 0; i < 2_000 && lab.primaries !== "b"; i++) {
    lab.run(1);
    expect(lab.primaries.length).toBeLessThanOrEqual(1);
    if (a.read("x").value === "old") {
      readsAtA++;
      expect(written.outcome).toBeNull();
    }
  }
  expect(readsAtA).toBeGreaterThan(200);
  expect(lab.nowMs - startMs).toBeGreaterThan(lab.timings.promiseMs - 2 * lab.timings.beaconMs);
  lab.run(20);
  expect(written.result).toBe("new");
});

test("the old one, when it is reachable, follows; nothing is lost", () => {
  const lab = Lab.of("abc");
  const a = lab.at("a");
  const acked = a.set("x", "1");
  lab.run(50);
  appoint(lab, "b", "abc");
  const uncertain = a.set("y", "1", "k1", 1);
  lab.until("the new one serves", () => lab.primaries === "b", 3_000);
  lab.run(100);
  expect([acked.result, uncertain.result]).toEqual(["1", "1"]);
  for (const disk of "abc") expect([lab.at(disk).value("x"), lab.at(disk).value("y")]).toEqual(["1", "1"]);
  expect(a.role).toBe("backup");
});

test("appointed, killed and started again it still keeps what its earlier life has promised", () => {
  const lab = Lab.of("abc");
  const [a, b] = [lab.at("a"), lab.at("b")];
  a.set("x", "old");
  lab.run(150);
  lab.cut("a", "bc");
  lab.cutStore("a");
  appoint(lab, "b", "bc");
  lab.run(10);
  // c would take its place.
  lab.cutStore("c");
  const { incarnation } = b;
  b.kill();
  b.start();
  lab.certify(incarnation, "b");
  const startMs = lab.nowMs;
  while (lab.primaries !== "b" && lab.nowMs < startMs + 5_000) {
    lab.run(1);
    expect(lab.primaries.length).toBeLessThanOrEqual(1);
  }
  expect(lab.primaries).toBe("b");
});
