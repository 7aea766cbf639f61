/** Replicas when nothing fails. */
import { expect, test } from "bun:test";
import { Lab } from "./lab.ts";

test("the first wanted replica makes the first configuration, and the others join", () => {
  const lab = Lab.of("abc");
  expect(lab.changes[0]).toMatchObject({ epoch: 1, primary: { disk: "a" }, inSync: ["a"] });
  expect(lab.inSync).toBe("abc");
  expect([lab.at("b").role, lab.at("c").role]).toEqual(["backup", "backup"]);
  expect(lab.primaries).toBe("a");
});

test("a write is answered when all have it, and applied by all", () => {
  const lab = Lab.of("abc");
  const written = lab.at("a").set("x", "1");
  lab.settle();
  expect(written.result).toBe("1");
  for (const disk of "abc") expect(lab.at(disk).value("x")).toBe("1");
});

test("a write at a backup is handed on to the primary, and answered where it was made", () => {
  const lab = Lab.of("abc");
  const written = lab.at("c").set("x", "1", "k1", 1);
  lab.settle();
  expect(written.result).toBe("1");
  expect(lab.at("c").read("x").value).toBe("1");
});

test("reads are answered at once at every replica", () => {
  const lab = Lab.of("abc");
  lab.at("a").set("x", "1");
  lab.settle();
  for (const disk of "abc")
    expect(lab.at(disk).read("x")).toMatchObject({ value: "1", outcome: { type: "ok" } });
});

test("an instance of one replica serves, and serves again when it has restarted", () => {
  const lab = Lab.of("a", { policy: { replicas: 1 } });
  const a = lab.at("a");
  expect(a.set("x", "1").outcome).toBeNull();
  lab.settle();
  a.kill();
  lab.run(100);
  a.start();
  lab.until("serves again", () => lab.primaries === "a", 600);
  expect(a.read("x").value).toBe("1");
});
