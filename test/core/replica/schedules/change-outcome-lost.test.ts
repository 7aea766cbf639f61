/**
 * The answer of a compare-and-set is lost, on joining and on removal. From sending a change until its outcome has been
 * read back, acknowledgements of both sets are needed (rule 1): else a write is acknowledged that the next primary,
 * whom the store counts as in sync, has never seen.
 */
import { expect, test } from "bun:test";
import { Lab } from "../lab.ts";

/** One replica serves, and a second one is about to be taken in; the primary will hear nothing of the store again. */
function joining(): Lab {
  const lab = Lab.of("a", { policy: { replicas: 2 } });
  const c = lab.add("c");
  for (const { machine } of [lab.at("a")]) machine.replicasWanted(lab.at("a").nowMs, lab.wanted);
  lab.loseAnswers = true;
  c.start();
  lab.until("the change is made", () => lab.inSync === "ac", 1_000);
  lab.cutStore("a");
  return lab;
}

test("joining: a write that the new member does not have is not acknowledged while the outcome is unknown", () => {
  const lab = joining();
  const [a, c] = [lab.at("a"), lab.at("c")];
  expect(a.machine.configurations.inSync).toEqual(["a"]);
  lab.cut("a", "c");
  const written = a.set("x", "1", "k1", 1);
  lab.run(3_000);
  expect(written.result).not.toBe("1");
  a.kill();
  lab.loseAnswers = false;
  lab.tellAll();
  lab.until("the new member serves", () => lab.primaries === "c", 5_000);
  expect(c.value("x")).toBeUndefined();
});

test("joining: nor is it before the change has been sent", () => {
  const lab = Lab.of("a", { policy: { replicas: 2 } });
  const c = lab.add("c");
  lab.at("a").machine.replicasWanted(lab.at("a").nowMs, lab.wanted);
  lab.holdStore = true;
  c.start();
  lab.until("the change is sent", () => lab.at("a").machine.configurations.isChanging, 1_000);
  // On its way: c gets nothing more of what is acknowledged.
  lab.cut("a", "c");
  const written = lab.at("a").set("x", "1", "k1", 1);
  lab.run(100);
  lab.releaseStore();
  lab.settle();
  expect(lab.inSync).toBe("ac");
  expect(written.outcome).toBeNull();
});

test("joining: with the new member writes go on, though no coordinator answers", () => {
  const lab = joining();
  const written = lab.at("a").set("x", "1", "k1", 1);
  lab.run(100);
  expect(written.result).toBe("1");
  expect(lab.at("c").indices.last).toBe(lab.at("a").indices.last);
});

test("removal: a write that the removed one does not have waits until the removal has been read back", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  lab.cut("a", "b");
  lab.holdStore = true;
  const written = a.set("x", "1", "k1", 1);
  lab.until("the removal is sent", () => a.machine.configurations.isChanging);
  // It is still on its way when the backup asks: whose compare-and-set wins decides.
  lab.cutStore("a");
  lab.run(100);
  expect(written.outcome).toBeNull();
  lab.forgetStoreRequests();
  lab.until("the backup serves", () => lab.primaries === "b", 5_000);
  expect(written.result).not.toBe("1");
  expect(b.value("x")).toBeUndefined();
});

test("removal: its answer is lost, and reading finds it again by its id", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const a = lab.at("a");
  lab.cut("a", "b");
  lab.loseAnswers = true;
  const written = a.set("x", "1", "k1", 1);
  lab.until("the change is made", () => lab.inSync === "a");
  expect(written.outcome).toBeNull();
  lab.until("the write is answered", () => written.outcome !== null, 1_000);
  expect(written.result).toBe("1");
  expect(lab.changes).toHaveLength(3);
});
