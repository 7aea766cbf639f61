/**
 * Shrink to one, then crash: what was acknowledged in the memory of three is then in that of one, so from before that
 * change on `fsync` is in force (rule 7).
 */
import { expect, test } from "bun:test";
import { Lab } from "../lab.ts";

const policy = { durability: "replicated" } as const;

test("the last replica makes its log durable before the others are removed", () => {
  const lab = Lab.of("abc", { policy });
  const a = lab.at("a");
  a.syncs = false;
  const written = a.set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
  lab.at("b").kill();
  lab.at("c").kill();
  lab.run(3_000);
  expect(lab.inSync).toBe("abc");
  a.syncs = true;
  lab.until("it is alone", () => lab.inSync === "a");
  a.powerCut();
  lab.run(100);
  a.startAfterPowerCut();
  lab.until("it serves", () => lab.primaries === "a", 5_000);
  expect(a.read("x").value).toBe("1");
});

test("while it is alone, a write is answered when it is durable", () => {
  const lab = Lab.of("abc", { policy });
  const a = lab.at("a");
  lab.at("b").kill();
  lab.at("c").kill();
  lab.until("it is alone", () => lab.inSync === "a" && lab.primaries === "a");
  a.syncs = false;
  const written = a.set("x", "1");
  lab.run(500);
  expect(written.outcome).toBeNull();
  expect(a.machine.status.durability).toBe("fsync");
  a.syncs = true;
  lab.run(10);
  expect(written.result).toBe("1");
});

test("with another one in sync again, written is enough again", () => {
  const lab = Lab.of("ab", { policy: { ...policy, replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  b.kill();
  lab.until("it is alone", () => lab.inSync === "a");
  b.start();
  lab.until("both are in sync", () => lab.inSync === "ab");
  lab.run(50);
  a.syncs = b.syncs = false;
  const written = a.set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
});
