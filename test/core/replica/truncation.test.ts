/** The log is cut off only up to a snapshot that has been fsynced (rule 7). */
import { expect, test } from "bun:test";
import { Lab } from "./lab.ts";

test("a power cut takes the database, and the log has all since the last snapshot", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2 } });
  const [a, b] = [lab.at("a"), lab.at("b")];
  for (let i = 0; i < 10; i++) a.set("x", String(i));
  lab.run(20);
  b.takeSnapshot();
  const { index } = b.storage.state;
  for (let i = 10; i < 20; i++) a.set("x", String(i));
  lab.run(20);
  expect(b.storage.base.index).toBe(index);
  a.kill();
  b.powerCut();
  lab.run(100);
  expect(b.value("x")).toBe("9");
  b.startAfterPowerCut();
  lab.until("it serves", () => lab.primaries === "b", 5_000);
  expect(b.read("x").value).toBe("19");
});

test("a snapshot of more than is durable cuts nothing off that is not", () => {
  const lab = Lab.of("ab", { policy: { replicas: 2, durability: "replicated" } });
  const a = lab.at("a");
  a.set("x", "1");
  lab.run(20);
  const { last } = a.indices;
  a.syncs = false;
  a.set("x", "2");
  lab.run(20);
  expect(a.value("x")).toBe("2");
  a.takeSnapshot();
  expect(a.storage.base.index).toBe(last);
});
