import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { FakeCoordinator } from "./fake-coordinator.ts";
import { TestNode } from "./test-node.ts";

let coordinator: FakeCoordinator;
let node: TestNode;

beforeAll(async () => {
  coordinator = await FakeCoordinator.start();
});
afterAll(() => coordinator.down());
beforeEach(async () => {
  coordinator.desired = null;
  coordinator.report = null;
  node = await TestNode.create(coordinator);
});
afterEach(() => node.destroy());

test("a container that is wanted is started, and ingress hears that it is ready", async () => {
  node.start();
  node.want([node.spec("u1", {}, { image: `sha256:${"0".repeat(64)}` })]);
  const ready = await node.ready("u1");
  expect(ready.pid).toBeGreaterThan(0);
  expect(ready.port).toBeGreaterThan(0);
  expect(ready.restarts).toBe(0);
  await node.until("table", () => node.table()?.routes[0]?.local?.incarnation === ready.incarnation);
  expect(node.table()?.routes[0]?.local?.socket).toEndWith("/run/c/u1/http.sock");
  await node.until("port", () => coordinator.report?.ports[0]?.state === "open");
  expect(await node.processes()).toHaveLength(3);
});
