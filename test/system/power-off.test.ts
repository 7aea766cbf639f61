/** All machines lose their power at once. What comes back serves again by itself, also before any coordinator does. */
import { expect, test } from "bun:test";
import { clusterForFile, createHello, createWeb, get } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 3 });
let web: Awaited<ReturnType<typeof createWeb>>;
let hello: Awaited<ReturnType<typeof createHello>>;

async function powerOff(): Promise<void> {
  cluster().killCoordinator();
  await Promise.all(cluster().nodes.map((n) => n.signal("SIGKILL")));
  await Promise.all(cluster().nodes.map((n) => n.kill()));
  await cluster().coordinatorGone();
}

/** Every node gives every instance, with all its containers taking part. */
async function everythingServes(): Promise<void> {
  const holders = web.view.containers.map((c) => c.nodeName);
  for (const node of cluster().nodes) {
    const seen = new Set<string | null>();
    await cluster().until(`${node.name} serves web and hello`, async () => {
      const answer = await get(node.address, web.port);
      if (answer.status !== 200 || answer.text !== "<h1>home</h1>\n") return false;
      seen.add(answer.headers.get("x-dvs-node"));
      const all = holders.includes(node.name) ? seen.has(node.name) : seen.size === holders.length;
      return all && (await get(node.address, hello.port)).status === 200;
    });
  }
}

test("after a power cut of all machines everything comes back by itself", async () => {
  web = await createWeb(cluster(), "web", 2);
  hello = await createHello(cluster(), "hello", 3);
  await cluster().api.instances.create({ name: "idle", spec: { os: "hello", nodes: 1 } });
  await cluster().phase("idle", "running");
  await cluster().api.instances.stop("idle");
  await cluster().phase("idle", "stopped");
  const before = (await cluster().api.instances.list()).map(({ uid, name }) => ({ uid, name }));

  await powerOff();
  for (const node of cluster().nodes) node.start();
  await cluster().startCoordinator();
  await cluster().phase("web", "running");
  await cluster().phase("hello", "running");
  await everythingServes();
  const after = await cluster().api.instances.list();
  expect(after.map(({ uid, name }) => ({ uid, name }))).toEqual(before);
  expect(after.find((i) => i.name === "idle")?.phase).toBe("stopped");
  const places = (view: typeof web.view) => view.containers.map((c) => c.nodeName);
  expect(places(after.find((i) => i.name === "web")!)).toEqual(places(web.view));
});

test("after a power cut of all machines the nodes serve again though no coordinator comes back", async () => {
  await powerOff();
  for (const node of cluster().nodes) node.start();
  await everythingServes();
  for (const node of cluster().nodes) {
    const uids = (await node.processes()).filter((p) => p.kind === "container").map((p) => p.uid);
    const wanted = [hello, web].filter((i) => i.view.containers.some((c) => c.nodeName === node.name));
    expect(uids.sort()).toEqual(wanted.map((i) => i.view.uid).sort());
  }
});

test("a coordinator that comes last finds everything running and changes nothing", async () => {
  const pids = async () =>
    (await Promise.all(cluster().nodes.map((n) => n.processes()))).flat().map((p) => `${p.kind} ${p.pid}`);
  const before = await pids();
  await cluster().startCoordinator();
  await cluster().phase("web", "running");
  await cluster().phase("hello", "running");
  expect(await pids()).toEqual(before);
});
