/** What was acknowledged in `replicated` mode is on all disks when somebody asks for it (rule 7). */
import { expect, test } from "bun:test";
import { Lab, nameOf } from "./lab.ts";

/** Nothing becomes durable by itself. */
function lazyLab(): Lab {
  const lab = Lab.of("abc", { policy: { durability: "replicated" } });
  for (const replica of lab.replicas.values()) {
    replica.syncs = false;
    replica.syncsWanted = 0;
  }
  return lab;
}

test("a sync is answered when the log is on every disk in sync, and not before", () => {
  const lab = lazyLab();
  const a = lab.at("a");
  const written = a.set("x", "1");
  lab.run(20);
  expect(written.result).toBe("1");
  const synced = a.sync();
  lab.run(20);
  expect(synced.outcome).toBeNull();
  a.syncs = true;
  lab.at("b").syncs = true;
  lab.run(20);
  expect(synced.outcome).toBeNull();
  lab.at("c").syncs = true;
  lab.run(20);
  expect(synced.outcome?.type).toBe("ok");
});

test("it makes every replica hurry, and holds nobody else up", () => {
  const lab = lazyLab();
  const a = lab.at("a");
  a.set("x", "1");
  lab.run(20);
  const wanted = () => ["a", "b", "c"].map((disk) => lab.at(disk).syncsWanted > 0).join();
  expect(wanted()).toBe("false,false,false");
  const synced = a.sync();
  const written = a.set("y", "2");
  lab.run(20);
  expect(wanted()).toBe("true,true,true");
  expect(written.result).toBe("2");
  expect(synced.outcome).toBeNull();
});

test("at a backup it is the primary's to answer", () => {
  const lab = lazyLab();
  const b = lab.at("b");
  b.set("x", "1");
  lab.run(20);
  const synced = b.sync();
  lab.run(20);
  expect(synced.outcome).toBeNull();
  for (const replica of lab.replicas.values()) replica.syncs = true;
  lab.run(20);
  expect(synced.outcome?.type).toBe("ok");
});

test("where everything is on the disks it makes no record", () => {
  const lab = Lab.of("abc");
  const a = lab.at("a");
  a.set("x", "1");
  lab.run(20);
  const { last } = a.indices;
  const synced = [a.sync(), lab.at("b").sync()];
  lab.run(20);
  expect(synced.map(({ outcome }) => outcome?.type)).toEqual(["ok", "ok"]);
  expect(a.indices.last).toBe(last);
});

test("a primary that may have been replaced does not answer by what it knows", () => {
  const lab = Lab.of("abc");
  const a = lab.at("a");
  lab.cut("a", "bc");
  lab.cutStore("a");
  lab.until("it is alone", () => !a.machine.isServing);
  const synced = a.sync();
  lab.run(50);
  expect(synced.outcome).toBeNull();
});

test("a new primary answers what the old one left", () => {
  const lab = lazyLab();
  const [a, b] = [lab.at("a"), lab.at("b")];
  b.set("x", "1");
  lab.run(20);
  lab.hold = (wire) => nameOf(wire) === "forwarded";
  const synced = b.sync();
  lab.run(20);
  a.kill();
  lab.hold = () => false;
  for (const replica of lab.replicas.values()) replica.syncs = true;
  lab.until("it is answered", () => synced.outcome !== null);
  expect(synced.outcome?.type).toBe("ok");
  expect(b.storage.durable).toBe(b.storage.lastIndex);
});
