import { expect, setDefaultTimeout, test } from "bun:test";
import { FakeCoordinator } from "./fake-coordinator.ts";
import { forEachTest, TestNode } from "./test-node.ts";

// Real host processes on a machine that may be busy: this is when to give up, not how long it takes.
setDefaultTimeout(30_000);

let coordinator: FakeCoordinator;
let node: TestNode;
forEachTest((c, n) => ([coordinator, node] = [c, n]));

test("a second agent on the same data directory is refused, and says who has it", async () => {
  node.start();
  await node.until("started", () => node.output.includes("started"));
  const agent = (await node.processes()).find((p) => p.kind === "agent");
  const second = new TestNode(node.dataDir, coordinator);
  second.start();
  expect(await second.ended()).toBe(4);
  expect(second.output).toContain(`an agent (pid ${agent?.pid}) runs on it`);
  await node.kill("SIGKILL");
  const third = new TestNode(node.dataDir, coordinator);
  third.start();
  await third.until("started", () => third.output.includes("started"));
  await third.kill("SIGKILL");
});

test("of ten agents that start at once exactly one runs, with one container and one ingress", async () => {
  coordinator.desired = node.desired([node.spec("u1")]);
  coordinator.report = null;
  const agents = Array.from({ length: 10 }, () => new TestNode(node.dataDir, coordinator));
  for (const agent of agents) agent.start();
  let refused = 0;
  for (const agent of agents) void agent.ended().then((code) => (refused += code === 4 ? 1 : 0));
  await node.until("nine refused", () => refused === 9, 30_000);
  await node.ready("u1");
  expect((await node.processes()).map((p) => p.kind).sort()).toEqual(["agent", "container", "ingress"]);
  expect(node.witnessed("u1")).toHaveLength(1);
  await Promise.all(agents.map((agent) => agent.kill("SIGKILL")));
}, 30_000);
