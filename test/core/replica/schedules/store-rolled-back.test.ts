/**
 * The store is rolled back: restored from a copy in which a replica is in sync that has been removed since, and lacks
 * what was acknowledged without it. Nobody goes by it before it was recovered (rule 3; DESIGN.md section 6).
 */
import { expect, test } from "bun:test";
import { Lab } from "../lab.ts";

/** b was in sync in the copy; since then it was removed, and `x` written. */
function rolledBack(generations: number): Lab {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  const copy = lab.store;
  b.kill();
  const written = a.set("x", "1");
  lab.until("the write is answered", () => written.outcome !== null);
  expect([written.result, lab.inSync]).toEqual(["1", "a"]);
  lab.store = { ...copy, generation: copy.generation + generations };
  lab.tellAll();
  return lab;
}

test("restored, with a new generation: who was in sync then does not become primary", () => {
  const lab = rolledBack(1);
  lab.at("a").kill();
  lab.at("b").start();
  lab.run(10_000);
  expect([lab.primaries, lab.at("b").role]).toEqual(["", "nobody"]);
  expect(lab.at("b").machine.status.problems.join()).toContain("dvs instance recover");
});

test("the primary goes on by what it knows, and changes nothing", () => {
  const lab = rolledBack(1);
  const a = lab.at("a");
  const written = a.set("y", "1");
  lab.run(500);
  expect(written.result).toBe("1");
  expect(a.machine.status.problems.join()).toContain("dvs instance recover");
  lab.at("b").start();
  lab.run(3_000);
  expect(lab.store.version).toBe(2);
  expect(lab.primaries).toBe("a");
});

test("recovered, it is gone by again", () => {
  const lab = rolledBack(1);
  const [a, b] = [lab.at("a"), lab.at("b")];
  b.start();
  lab.run(500);
  // `dvs coordinator recover`: from what the replicas report, above all epochs.
  lab.store = {
    generation: 2,
    version: 10,
    configuration: {
      epoch: 5,
      primary: { disk: "a", incarnation: a.incarnation },
      generation: 2,
      inSync: ["a"],
      changeId: "recovered",
    },
  };
  lab.tellAll();
  lab.until("all is well", () => lab.primaries === "a" && lab.inSync === "ab", 5_000);
  expect([a.value("x"), b.value("x")]).toEqual(["1", "1"]);
});

test("silently put back, with epochs that were seen to be over: they are refused, also after a restart", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  const copy = lab.store;
  a.kill();
  lab.until("the other serves", () => lab.primaries === "b", 5_000);
  const written = b.set("x", "1");
  lab.run(100);
  expect(written.result).toBe("1");
  a.start();
  lab.until("both are in sync", () => lab.inSync === "ab", 5_000);
  b.kill();
  a.kill();
  lab.store = copy;
  b.start();
  lab.run(5_000);
  expect(lab.store).toBe(copy);
  expect(b.machine.status.problems.join()).toContain("epoch 1, and 2 was seen");
});

test("lost: a replica that has something makes no first configuration", () => {
  const lab = rolledBack(0);
  const a = lab.at("a");
  lab.store = { generation: 1, version: 0, configuration: null };
  a.kill();
  a.start();
  lab.run(3_000);
  expect(lab.store.version).toBe(0);
  expect(a.machine.status.problems.join()).toContain("dvs coordinator recover");
});

test("an older generation is refused", () => {
  const lab = Lab.of("a", { policy: { replicas: 1 } });
  const a = lab.at("a");
  const old = lab.store;
  lab.store = {
    generation: 3,
    version: 7,
    configuration: { ...old.configuration!, epoch: 4, generation: 3 },
  };
  lab.tellAll();
  lab.run(100);
  expect(a.machine.configurations.epoch).toBe(4);
  a.kill();
  lab.store = { ...old, version: 9, configuration: { ...old.configuration!, epoch: 9 } };
  a.start();
  lab.run(3_000);
  expect(lab.store.version).toBe(9);
});
