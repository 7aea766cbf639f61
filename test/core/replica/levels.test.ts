/** Versions of modules: a level is in force once every replica in sync can apply it. */
import { expect, test } from "bun:test";
import { Lab } from "./lab.ts";

test("the first primary raises its levels before anything is written", () => {
  const lab = Lab.of("a", { policy: { replicas: 1 } });
  const kinds = lab.at("a").storage.records.map((record) => record.kind);
  expect(kinds).toEqual([2, 3]);
  expect(lab.at("a").storage.state.levels).toEqual(new Map([["map", 1]]));
});

test("a level rises when the last replica has been upgraded", () => {
  const lab = Lab.of("abc");
  const upgraded = (disk: string) => {
    const replica = lab.at(disk);
    replica.kill();
    replica.levels = [["map", 2]];
    replica.start();
    lab.until("it is back", () => lab.inSync === "abc" && lab.primaries !== "", 8_000);
    lab.run(500);
  };
  upgraded("b");
  upgraded("c");
  for (const { storage } of lab.replicas.values()) expect(storage.state.levels.get("map")).toBe(1);
  upgraded("a");
  for (const { storage } of lab.replicas.values()) expect(storage.state.levels.get("map")).toBe(2);
});

test("a replica that cannot apply what is in force is not taken in", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const old = lab.add("c", [["map", 0]]);
  for (const replica of lab.replicas.values()) {
    if (replica.isRunning) replica.machine.replicasWanted(replica.nowMs, lab.wanted);
  }
  old.start();
  lab.run(3_000);
  expect(lab.inSync).toBe("ab");
  expect(old.failure).toContain("install the one of the other nodes");
});

test("nor does it carry anything out on a state that came as a snapshot, or that it finds on its disk", () => {
  const lab = Lab.of("a", { policy: { replicas: 1 } });
  const a = lab.at("a");
  a.set("x", "1");
  lab.run(20);
  a.takeSnapshot();
  const old = lab.add("b", [["map", 0]]);
  a.machine.replicasWanted(a.nowMs, lab.wanted);
  old.start();
  lab.until("it has the snapshot", () => old.storage.base.index > 0, 2_000);
  expect(old.failure).toContain("install the one of the other nodes");
  const { applied } = old.indices;
  a.set("x", "2");
  lab.run(200);
  expect(old.indices.applied).toBe(applied);
  // Its host process has ended, and is started again.
  old.kill();
  old.start();
  expect(old.failure).toContain("install the one of the other nodes");
  lab.run(200);
  expect([old.indices.applied, old.value("x")]).toEqual([applied, "1"]);
});
