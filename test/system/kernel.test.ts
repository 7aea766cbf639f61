/** Calls between the kernels of an instance, on real host processes: the counter of `hello`, and who may hold it. */
import { expect, test } from "bun:test";
import { clusterForFile, createHello, createWeb } from "./fixture.ts";
import type { TestNode } from "./cluster.ts";

const cluster = clusterForFile({ nodes: 3 });
let port = 0;
let uid = "";

interface Answer {
  status: number;
  count: number;
  holder: number;
  outcome: string;
}

async function count(node: TestNode, method: "GET" | "POST" = "POST", timeoutMs = 8_000): Promise<Answer> {
  const url = `http://${node.address}:${port}/count`;
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await fetch(url, { method, signal, headers: { connection: "close" } });
  return { status: response.status, ...((await response.json()) as Omit<Answer, "status">) };
}

/** One more from this node, as soon as it counts. */
async function counts(node: TestNode): Promise<Answer> {
  let answer: Answer | undefined;
  await cluster().until(
    `${node.name} counts`,
    async () => (answer = await count(node)).status === 200,
    15_000,
  );
  return answer!;
}

async function kernels(): Promise<Map<number, TestNode>> {
  const { containers } = await cluster().api.instances.get("hello");
  return new Map(containers.map((c) => [c.kernel?.kernel ?? 0, cluster().node(c.nodeName)]));
}

test("every node counts on one counter, and every increment that was answered is counted once", async () => {
  const { view, port: published } = await createHello(cluster(), "hello", 3);
  port = published;
  uid = view.uid;
  for (const node of cluster().nodes) await counts(node);
  const before = (await count(cluster().nodes[0]!, "GET")).count;
  // Four at a time on each node: each count is a read and a write on three disks, one after the other.
  const answers: Answer[] = [];
  const lanes = cluster().nodes.flatMap((node) => Array.from({ length: 4 }, () => node));
  await Promise.all(
    lanes.map(async (node) => {
      for (let i = 0; i < 10; i++) answers.push(await count(node));
    }),
  );
  expect(answers.map((a) => a.status)).toEqual(answers.map(() => 200));
  const numbers = answers.map((a) => a.count).sort((a, b) => a - b);
  expect(numbers).toEqual(answers.map((_, i) => before + 1 + i));
  expect(new Set(answers.map((a) => a.holder)).size).toBe(1);
  for (const node of cluster().nodes) expect((await count(node, "GET")).count).toBe(before + answers.length);
});

test("the View of the instance has a kernel for each container, and says how it is", async () => {
  await cluster().until("each kernel is known", async () => {
    const { containers } = await cluster().api.instances.get("hello");
    return containers.length === 3 && containers.every((c) => c.kernel?.state === "running");
  });
  expect((await kernels()).size).toBe(3);
});

test("two instances do not see each other's endpoints", async () => {
  const other = await createHello(cluster(), "other", 3);
  const mine = (await count(cluster().nodes[0]!, "GET")).count;
  let first: Answer | undefined;
  await cluster().until("the other instance counts", async () => {
    const url = `http://${cluster().nodes[1]!.address}:${other.port}/count`;
    const response = await fetch(url, { method: "POST" });
    first = { status: response.status, ...((await response.json()) as Omit<Answer, "status">) };
    return first.status === 200;
  });
  expect(first!.count).toBe(1);
  expect((await count(cluster().nodes[0]!, "GET")).count).toBe(mine);
  await cluster().api.instances.remove("other");
});

test("ps shows the endpoints with kind and counters, and trace the messages of one of them", async () => {
  const listed = await cluster().dvs(["instance", "ps", "hello", "--endpoints", "-o", "json"]);
  expect(listed.code).toBe(0);
  const rows = JSON.parse(listed.stdout) as {
    name: string;
    endpoint: string;
    node: string;
    kind: string;
    kernel: number;
    counters: { receivedLocal: number; receivedRemote: number; bytesReceived: number } | null;
  }[];
  expect(new Set(rows.map((r) => r.node)).size).toBe(3);
  const [counter, ...others] = rows.filter((r) => r.name === "counter");
  // First the kernel that holds it, then those that call it.
  expect([counter!.kind, ...others.map((r) => r.kind)]).toEqual(["local", "remote", "remote"]);
  expect(others.map((r) => r.kernel)).toEqual([counter!.kernel, counter!.kernel]);
  expect(counter!.counters!.receivedLocal).toBeGreaterThan(0);
  expect(counter!.counters!.receivedRemote).toBeGreaterThan(0);
  expect(counter!.counters!.bytesReceived).toBeGreaterThan(0);
  const inspected = await cluster().dvs(["instance", "inspect", "hello"]);
  expect(inspected.stdout).toMatch(/kernels: +3; leases are granted by kernel \d+ on n[123] \(epoch \d+\)/);
  const tracing = cluster().dvs(["trace", "hello", counter!.endpoint, "-n", "12"]);
  let ended = false;
  void tracing.then(() => (ended = true));
  await cluster().until("the trace of each node is full", async () => {
    for (const node of cluster().nodes) await count(node);
    return ended;
  });
  const { code, stdout } = await tracing;
  expect(code).toBe(0);
  const lines = stdout.trim().split("\n");
  const messages = lines.map((line) => JSON.parse(line) as { node: string; message: string; local?: true });
  expect(messages).toHaveLength(36);
  expect(messages.map((m) => m.message)).toContain("request");
  const local = messages.filter((m) => m.local);
  expect(new Set(local.map((m) => m.message))).toEqual(new Set(["request", "reply"]));
  expect(new Set(local.map((m) => m.node))).toEqual(new Set([counter!.node]));
  expect(stdout).not.toContain("body");
  expect((await cluster().dvs(["trace", "hello", "nothing"])).code).toBe(2);
});

test("calls go on without a coordinator", async () => {
  cluster().killCoordinator();
  await cluster().coordinatorGone();
  const answers = [];
  for (let i = 0; i < 15; i++) {
    for (const node of cluster().nodes) answers.push(await count(node));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(answers.map((a) => a.status)).toEqual(answers.map(() => 200));
  await cluster().startCoordinator();
  await cluster().allUp();
  await cluster().phase("hello", "running");
});

/** Counts on these nodes, one request after the other on each, until told to stop. */
function counting(nodes: TestNode[]) {
  const answers: (Answer & { node: string; atMs: number })[] = [];
  const stopping = new AbortController();
  const done = Promise.all(
    nodes.map(async (node) => {
      while (!stopping.signal.aborted) {
        const answer = await count(node).catch(() => null);
        if (answer) answers.push({ ...answer, node: node.name, atMs: performance.now() });
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }),
  );
  return {
    answers,
    counted: () => answers.filter((a) => a.status === 200),
    async stop() {
      stopping.abort();
      await done;
    },
  };
}

/** No count twice, and holders one after the other: in the order of counts none comes back. */
function expectOneHolderAtATime(counted: Answer[]): void {
  const numbers = counted.map((a) => a.count);
  expect(new Set(numbers).size).toBe(numbers.length);
  const inOrder = counted.toSorted((a, b) => a.count - b.count).map((a) => a.holder);
  const turns = inOrder.filter((holder, i) => holder !== inOrder[i - 1]);
  expect(turns).toEqual([...new Set(turns)]);
}

async function holderNow(): Promise<{ node: TestNode; others: TestNode[]; kernel: number }> {
  const { holder } = await counts(cluster().nodes[0]!);
  let node: TestNode | undefined;
  await cluster().until(
    "the holder is known",
    async () => (node = (await kernels()).get(holder)) !== undefined,
  );
  return { node: node!, others: cluster().nodes.filter((n) => n !== node), kernel: holder };
}

test("the holder's container is killed: another goes on counting where it was, within seconds", async () => {
  const { node, others, kernel } = await holderNow();
  const run = counting(others);
  await cluster().until("some are counted", () => run.counted().length >= 20);
  process.kill(await node.pid("container", uid), "SIGKILL");
  await cluster().until("another holds it", () => run.counted().some((a) => a.holder !== kernel), 10_000);
  const had = run.counted().length;
  await cluster().until("it goes on", () => run.counted().length >= had + 20);
  await run.stop();
  expectOneHolderAtATime(run.counted());
  // The one that was started anew takes part again.
  await counts(node);
});

test("the holder is stopped: it is frozen, another takes over, and it is not a second one when it goes on", async () => {
  const { node, others, kernel } = await holderNow();
  const pid = await node.pid("container", uid);
  const run = counting(others);
  await cluster().until("some are counted", () => run.counted().length >= 20);
  process.kill(pid, "SIGSTOP");
  try {
    await cluster().until("another holds it", () => run.counted().some((a) => a.holder !== kernel), 15_000);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  const had = run.counted().length;
  await cluster().until("it goes on", () => run.counted().length >= had + 20);
  const back = await counts(node);
  await run.stop();
  expect(back.holder).not.toBe(kernel);
  expectOneHolderAtATime(run.counted());
  // One that cannot go without its kernel ends with it, and another is started.
  expect(await node.pid("container", uid)).not.toBe(pid);
  expect((await kernels()).has(kernel)).toBe(false);
});

test("each container of a web instance knows the load of all", async () => {
  const web = await createWeb(cluster(), "web", 3);
  const names = cluster().nodes.map((n) => n.name);
  for (const { address } of cluster().nodes) {
    await cluster().until("the load of all is known", async () => {
      const health = await fetch(`http://${address}:${web.port}/.well-known/dvs/health`);
      const load = health.headers.get("x-dvs-load") ?? "";
      return names.every((name) => new RegExp(`(^| )${name}=\\d+/\\d+( |$)`).test(load));
    });
  }
});
