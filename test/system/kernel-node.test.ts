/** Kernels and their node: what siblings of other instances see of each other, and an agent that ends and returns. */
import { expect, test } from "bun:test";
import type { ListedEndpoint } from "../../core/kernel/endpoint-list.ts";
import { processStartTime } from "../../core/platform/uptime.ts";
import { clusterForFile, createHello, createWeb, get } from "./fixture.ts";
import type { TestNode } from "./cluster.ts";

const cluster = clusterForFile({ nodes: 2 });

interface Answer {
  status: number;
  count: number;
  holder: number;
}
type Row = ListedEndpoint & { node: string };

async function count(node: TestNode, port: number, method: "GET" | "POST" = "POST"): Promise<Answer> {
  const url = `http://${node.address}:${port}/count`;
  const response = await fetch(url, {
    method,
    headers: { connection: "close" },
    signal: AbortSignal.timeout(8_000),
  });
  return { status: response.status, ...((await response.json()) as Omit<Answer, "status">) };
}
async function counts(node: TestNode, port: number): Promise<Answer> {
  let answer: Answer | undefined;
  await cluster().until(
    `${node.name} counts`,
    async () => (answer = await count(node, port)).status === 200,
    15_000,
  );
  return answer!;
}
async function endpoints(name: string): Promise<Row[]> {
  const { code, stdout } = await cluster().dvs(["instance", "ps", name, "--endpoints", "-o", "json"]);
  expect(code).toBe(0);
  return JSON.parse(stdout) as Row[];
}
async function kernelOf(name: string, node: TestNode): Promise<number> {
  const { containers } = await cluster().api.instances.get(name);
  return containers.find((c) => c.nodeName === node.name)?.kernel?.kernel ?? 0;
}

test("containers of two instances on the same nodes have nothing of each other's endpoints", async () => {
  const [first, second] = [
    await createHello(cluster(), "first", 2),
    await createHello(cluster(), "second", 2),
  ];
  for (const node of cluster().nodes) {
    await counts(node, first.port);
    await counts(node, second.port);
  }
  const before = { first: await endpoints("first"), second: await endpoints("second") };
  const counter = (rows: Row[]) => rows.find((r) => r.name === "counter" && r.kind === "local")!;
  for (const [name, rows] of Object.entries(before)) {
    // The same names in both, and no endpoint on a kernel that is not the instance's own.
    expect(rows.filter((r) => r.name === "counter" && r.kind === "local").length).toBe(1);
    const own = new Set(await Promise.all(cluster().nodes.map((node) => kernelOf(name, node))));
    expect(rows.filter((r) => !own.has(r.kernel))).toEqual([]);
  }
  for (const node of cluster().nodes) for (let i = 0; i < 10; i++) await count(node, first.port);
  const after = { first: await endpoints("first"), second: await endpoints("second") };
  const received = (rows: Row[]) => {
    const { receivedLocal, receivedRemote } = counter(rows).counters!;
    return receivedLocal + receivedRemote;
  };
  expect(received(after.first)).toBeGreaterThanOrEqual(received(before.first) + 20);
  expect(received(after.second)).toBe(received(before.second));
});

test("an agent that is killed and starts again finds its kernels as they were, and certifies their ends", async () => {
  const { port, view } = await createHello(cluster(), "stays", 2);
  for (const node of cluster().nodes) await counts(node, port);
  const { holder } = await counts(cluster().nodes[0]!, port);
  const at = await Promise.all(cluster().nodes.map((node) => kernelOf("stays", node)));
  const node = cluster().nodes[at.indexOf(holder)]!;
  const other = cluster().nodes.find((n) => n !== node)!;
  const container = await node.pid("container", view.uid);
  const agent = await node.pid("agent");
  process.kill(agent, "SIGKILL");
  await cluster().until("the agent is gone", () => processStartTime(agent) === null);
  const without = await Promise.all(cluster().nodes.map((n) => count(n, port)));
  expect(without.map((a) => [a.status, a.holder])).toEqual([
    [200, holder],
    [200, holder],
  ]);
  node.start();
  await cluster().allUp();
  await cluster().until("its kernel is known again", async () => (await kernelOf("stays", node)) === holder);
  expect(await node.pid("container", view.uid)).toBe(container);
  expect((await counts(other, port)).holder).toBe(holder);
  // It did not start this process, and yet is the one that sees its end.
  process.kill(container, "SIGKILL");
  let next: Answer | undefined;
  await cluster().until("another holds it", async () => {
    next = await count(other, port);
    return next.status === 200 && next.holder !== holder;
  });
  expect(next!.count).toBeGreaterThan(without[0]!.count);
  expect((await counts(node, port)).count).toBeGreaterThan(next!.count);
});

test("a container that serves without its kernel goes on when that was removed, and its next kernel joins in its place", async () => {
  const web = await createWeb(cluster(), "web", 2);
  const [node, other] = cluster().nodes as [TestNode, TestNode];
  const members = async () => (await cluster().api.instances.get("web")).kernels?.members;
  const running = (of: TestNode, kernel: number) => async () => {
    const { containers } = await cluster().api.instances.get("web");
    const its = containers.find((c) => c.nodeName === of.name)?.kernel;
    return its !== undefined && its.state === "running" && its.kernel !== kernel;
  };
  // One that the grantor has never met would wait for it much longer.
  for (const of of [node, other]) await cluster().until(`the kernel of ${of.name} runs`, running(of, 0));
  await cluster().until("both are members", async () => (await members()) === 2);
  const kernel = await kernelOf("web", node);
  const pid = await node.pid("container", web.view.uid);
  process.kill(pid, "SIGSTOP");
  try {
    // Before the agent takes it for hung, which ends it.
    await cluster().until("its kernel is removed", async () => (await members()) === 1, 8_000);
  } finally {
    if (processStartTime(pid) !== null) process.kill(pid, "SIGCONT");
  }
  await cluster().until("its next kernel runs", running(node, kernel), 15_000);
  expect(await members()).toBe(2);
  expect(await node.pid("container", web.view.uid)).toBe(pid);
  for (const { address } of [node, other]) expect((await get(address, web.port, "/")).status).toBe(200);
});
