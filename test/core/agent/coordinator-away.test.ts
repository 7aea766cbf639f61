import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FakeCoordinator } from "./fake-coordinator.ts";
import { TestNode } from "./test-node.ts";

// Real host processes on a machine that may be busy: this is when to give up, not how long it takes.
setDefaultTimeout(30_000);

let coordinator: FakeCoordinator;
let node: TestNode;

beforeEach(async () => {
  coordinator = await FakeCoordinator.start();
  node = await TestNode.create(coordinator);
});
afterEach(async () => {
  await node.destroy();
  await coordinator.down();
});

const persisted = () =>
  (JSON.parse(readFileSync(join(node.dataDir, "desired.json"), "utf8")) as { revision: number }).revision;

test("after power-off a node without a coordinator starts everything it ran, on the old ports", async () => {
  node.start();
  node.want([node.spec("u1"), node.spec("u2")]);
  const before = await node.ready("u1");
  await node.ready("u2");
  await node.powerOff();
  await coordinator.down();
  node.start();
  await node.until(
    "both again",
    () => node.witnessed("u1").length === 2 && node.witnessed("u2").length === 2,
  );
  await node.until(
    "table",
    () => node.table()?.routes[1]?.local?.incarnation === node.witnessed("u2")[1]?.incarnation,
  );
  coordinator.report = null;
  await coordinator.listen();
  const after = await node.ready("u1", before.incarnation);
  expect(after.port).toBe(before.port);
  expect(node.witnessed("u1").filter((w) => w.double)).toEqual([]);
});

test("while no coordinator answers a container that dies is started again", async () => {
  node.start();
  node.want([node.spec("u1")]);
  const before = await node.ready("u1");
  await coordinator.down();
  process.kill(before.pid, "SIGKILL");
  await node.until("started again", () => node.witnessed("u1").length === 2);
  coordinator.report = null;
  await coordinator.listen();
  expect((await node.ready("u1", before.incarnation)).restarts).toBe(1);
});

test("a coordinator that refuses gets the whole report as soon as it takes it again", async () => {
  node.start();
  node.want([node.spec("u1")]);
  await node.ready("u1");
  coordinator.refuses = true;
  const beats = coordinator.heartbeats.length;
  coordinator.report = null;
  await node.until("silence", () => node.output.includes("no coordinator answers"));
  expect(coordinator.heartbeats.length).toBeLessThanOrEqual(beats + 1);
  coordinator.refuses = false;
  await node.ready("u1");
});

test("an older revision and another cluster's state are refused, also by the next agent", async () => {
  node.start();
  node.want([node.spec("u1")], { revision: 10 });
  const { pid } = await node.ready("u1");
  await node.until("written", () => persisted() === 10);
  coordinator.send({ type: "desired", desired: node.desired([], { revision: 9 }) });
  await node.until(
    "warning",
    () => coordinator.report?.warnings.some((w) => w.includes("revision 9")) ?? false,
  );
  coordinator.send({ type: "desired", desired: node.desired([], { revision: 11, clusterId: "c2" }) });
  await node.until("warning", () => coordinator.report?.warnings.some((w) => w.includes("c2")) ?? false);
  await node.kill("SIGKILL");
  coordinator.report = null;
  coordinator.desired = node.desired([], { revision: 9 });
  node.start();
  await node.until(
    "warning",
    () => coordinator.report?.warnings.some((w) => w.includes("revision 9")) ?? false,
  );
  expect(await node.ready("u1")).toMatchObject({ pid });
  expect(persisted()).toBe(10);
});

test("an older store generation is refused; a newer one is taken with any revision", async () => {
  node.start();
  node.want([node.spec("u1")], { revision: 10, storeGeneration: 2 });
  await node.ready("u1");
  coordinator.send({ type: "desired", desired: node.desired([], { revision: 99, storeGeneration: 1 }) });
  await node.until("warning", () =>
    (coordinator.report?.warnings ?? []).some((w) => w.includes("store generation 1")),
  );
  expect(node.container("u1")?.state).toBe("ready");
  node.want([node.spec("u1"), node.spec("u2")], { revision: 3, storeGeneration: 3 });
  await node.ready("u2");
  expect(coordinator.report?.revision).toBe(3);
});

test("a desired.json that a power cut tore counts as none", async () => {
  node.start();
  node.want([node.spec("u1")]);
  await node.ready("u1");
  await node.powerOff();
  await Bun.write(join(node.dataDir, "desired.json"), '{"clusterId":"c1","stor');
  await Bun.write(join(node.dataDir, "run/c/u1/process.json"), "");
  coordinator.report = null;
  node.start();
  await node.ready("u1");
  expect(node.witnessed("u1")).toHaveLength(2);
});
