/** What the commands about instances print and do: stop, start, logs, inspect, ls, events; and removal with a node down. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { LogLine } from "../../core/api/schema.ts";
import { InstanceView, NodeView } from "../../core/api/views.ts";
import { EventRecord } from "../../core/records.ts";
import { clusterForFile, createHello, createWeb, get, refuses } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 2 });
let web: Awaited<ReturnType<typeof createWeb>>;
let hello: Awaited<ReturnType<typeof createHello>>;

async function dvs(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster().dvs(args);
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return stdout;
}
const jsonLines = <S extends z.ZodType>(schema: S, text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => schema.parse(JSON.parse(line)));

test("ls, inspect, status and node ls print what their schemas say with -o json, and tables without", async () => {
  web = await createWeb(cluster(), "web", 2);
  hello = await createHello(cluster(), "hello", 1);
  const list = z.array(InstanceView).parse(JSON.parse(await dvs("instance", "ls", "-o", "json")));
  expect(list.map((i) => [i.name, i.phase, i.ready])).toEqual([
    ["hello", "running", 1],
    ["web", "running", 2],
  ]);
  const one = InstanceView.parse(JSON.parse(await dvs("instance", "inspect", "web", "-o", "json")));
  expect(one.spec).toMatchObject({
    os: "web",
    nodes: 2,
    publish: [{ port: web.port }],
    options: { echo: "/echo" },
  });
  const nodes = z.array(NodeView).parse(JSON.parse(await dvs("node", "ls", "-o", "json")));
  expect(nodes.map((n) => [n.name, n.state])).toEqual([
    ["n1", "up"],
    ["n2", "up"],
  ]);
  expect(nodes.reduce((sum, n) => sum + n.containers, 0)).toBe(3);
  const status = JSON.parse(await dvs("status", "-o", "json")) as {
    status: { instances: unknown; nodes: unknown };
  };
  expect(status.status.instances).toEqual({ running: 2 });
  expect(status.status.nodes).toEqual({ up: 2, down: 0, unknown: 0 });
  const table = await dvs("instance", "ls");
  expect(table.split("\n")[0]).toContain("NAME");
  expect(table).toMatch(/web +.*running/);
  expect(await dvs("instance", "inspect", "web")).toContain("running");
});

test("the access log has the requests that each node's container answered", async () => {
  const ending = new AbortController();
  const line = (async () => {
    const query = { tail: 0, follow: true, file: "access" as const };
    for await (const entry of cluster().api.instances.logs("web", query, ending.signal)) return entry;
    return undefined;
  })();
  let found: Awaited<typeof line>;
  void line.then((entry) => (found = entry));
  // Followed from an unknown moment on: asked until one is seen.
  await cluster().until("a request is seen in the log", async () => {
    await get(cluster().nodes[0]!.address, web.port);
    return found !== undefined;
  });
  ending.abort();
  expect(found!.line).toMatch(/^\S+ - - \[.+\] "GET \S+ HTTP\/1\.1" 200 \d+ /);
  const all = jsonLines(LogLine, await dvs("instance", "logs", "web", "--access", "-o", "ndjson"));
  expect(all.length).toBeGreaterThan(0);
  expect(all.every((entry) => entry.line.includes('"GET '))).toBe(true);
});

test("logs bring each node's lines, of one node where asked for, and follow what comes", async () => {
  const all = jsonLines(LogLine, await dvs("instance", "logs", "web", "-o", "ndjson"));
  expect([...new Set(all.map((l) => l.node))].sort()).toEqual(["n1", "n2"]);
  expect(all.some((l) => l.line.includes("ready"))).toBe(true);
  const one = jsonLines(
    LogLine,
    await dvs("instance", "logs", "web", "--node", "n2", "--tail", "1", "-o", "ndjson"),
  );
  expect(one).toHaveLength(1);
  expect(one[0]!.node).toBe("n2");

  const ending = new AbortController();
  const followed: string[] = [];
  const following = (async () => {
    const query = { tail: 1, follow: true };
    for await (const { node, line } of cluster().api.instances.logs("web", query, ending.signal)) {
      followed.push(`${node} ${line}`);
    }
  })().catch(() => undefined);
  await cluster().until("the last lines are there", () => followed.length >= 2);
  await dvs("instance", "stop", "web");
  await cluster().until("each node's end was followed", () =>
    ["n1", "n2"].every((n) => followed.some((l) => l.startsWith(n) && l.includes("stopped"))),
  );
  ending.abort();
  await following;
});

test("a stopped instance has no containers and no open port, and keeps its name, port and places", async () => {
  const view = await cluster().api.instances.get("web");
  expect(view).toMatchObject({ phase: "stopped", desired: "stopped", containers: [], conditions: [] });
  for (const node of cluster().nodes) {
    expect(await refuses(node.address, web.port)).toBe(true);
    expect((await node.processes()).filter((p) => p.uid === web.view.uid)).toEqual([]);
    expect((await get(node.address, hello.port)).status).toBe(200);
  }
  const taken = await cluster().dvs([
    "instance",
    "create",
    "x",
    "--os",
    "hello",
    "--publish",
    String(web.port),
  ]);
  expect(taken.code).toBe(4);
  await dvs("instance", "stop", "web"); // again: nothing to do
});

test("a started instance is served by every node as soon as the command has ended", async () => {
  const started = InstanceView.parse(JSON.parse(await dvs("instance", "start", "web", "-o", "json")));
  for (const { address } of cluster().nodes) expect((await get(address, web.port)).status).toBe(200);
  expect(started.uid).toBe(web.view.uid);
  expect(started.containers.map((c) => c.node).sort()).toEqual(web.view.containers.map((c) => c.node).sort());
  const before = new Set(web.view.containers.map((c) => c.incarnation));
  expect(started.containers.some((c) => before.has(c.incarnation))).toBe(false);
});

test("stop, start and remove, many times over, end as asked", async () => {
  for (let round = 0; round < 4; round++) {
    await dvs("instance", "stop", "hello");
    await dvs("instance", "start", "hello");
    expect((await get(cluster().nodes[round % 2]!.address, hello.port)).status).toBe(200);
  }
  // What is asked for last holds, also where nobody waited for what came before.
  for (const word of ["stop", "start", "stop", "start"]) await dvs("instance", word, "hello", "--detach");
  await cluster().phase("hello", "running");
  await cluster().until("it serves", async () => {
    const answers = await Promise.all(
      cluster().nodes.map((n) => get(n.address, hello.port).catch(() => null)),
    );
    return answers.every((a) => a?.status === 200);
  });
});

test("a removal while a node is down frees name and port at once; the node drops its part when it returns", async () => {
  const down = cluster().node("n2");
  const stale = await down.pid("container", web.view.uid);
  await down.signal("SIGSTOP");
  await cluster().until("it is down", async () => (await cluster().api.nodes.get("n2")).state === "down");
  await dvs("instance", "rm", "web");
  expect((await cluster().dvs(["instance", "inspect", "web"])).code).toBe(3);
  const args = ["--os", "hello", "--publish", String(web.port)];
  await dvs("instance", "create", "web", ...args);
  expect((await get(cluster().node("n1").address, web.port)).status).toBe(200);

  await down.signal("SIGCONT");
  await cluster().allUp();
  await cluster().until("the old container is gone", async () =>
    (await down.processes()).every((p) => p.pid !== stale),
  );
  await cluster().until(
    "its directory is gone",
    () => !existsSync(join(down.dataDir, "run/c", web.view.uid)),
  );
  await cluster().until("the port leads to the new one", async () => {
    const answer = await get(down.address, web.port).catch(() => null);
    return answer?.status === 200 && answer.text.includes('"instance":"web"');
  });
});

test("the events tell the story in order", async () => {
  const events = jsonLines(EventRecord, await dvs("events", "-o", "ndjson", "--limit", "1000"));
  const reasons = events.filter((e) => e.subject === "instance/web").map((e) => e.reason);
  const story = ["Created", "Placed", "Stop", "Start", "Remove", "Created"];
  let at = 0;
  for (const reason of reasons) if (reason === story[at]) at += 1;
  expect({ reached: story.slice(0, at), reasons }).toEqual({ reached: story, reasons });
  expect(events.map((e) => e.at)).toEqual(events.map((e) => e.at).sort());
  expect(await dvs("events", "--limit", "3")).toMatch(/instance\/web/);
});
