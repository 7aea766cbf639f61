/** The main job on real host processes: any node serves, a dead or stopped machine loses no request. */
import { expect, test } from "bun:test";
import { startLoad } from "../tools/load-process.ts";
import { clusterForFile, createWeb, delay, get } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 4 });
let web: Awaited<ReturnType<typeof createWeb>>;

test("an instance on three of four nodes is served by every node", async () => {
  web = await createWeb(cluster(), "web", 3);
  expect(web.view.phase).toBe("running");
  expect(web.view.containers.map((c) => c.state)).toEqual(["ready", "ready", "ready"]);
  expect(web.view.conditions).toEqual([]);
  for (const node of cluster().nodes) {
    const answer = await get(node.address, web.port, "/page-3.html");
    expect(answer.status).toBe(200);
    expect(answer.text).toStartWith("<p>page-3.html</p>");
    const holder = answer.headers.get("x-dvs-node");
    // The local container first; the fourth node asks another one.
    if (holds(node.name)) expect(holder).toBe(node.name);
    else expect(holds(holder)).toBe(true);
  }
});

test("no request fails when a whole node is killed under load, and the instance says that it lacks one", async () => {
  const victim = cluster().node(web.view.containers[0]!.nodeName);
  const load = loadThroughFourth(6);
  await delay(2_000);
  load.mark("killed");
  await victim.signal("SIGKILL");
  const degraded = await cluster().phase("web", "degraded");
  expect(degraded.ready).toBe(2);
  expect(degraded.conditions.map((c) => c.message)).toEqual([`node ${victim.name} is down`]);
  const report = await load.report;
  expect(report.failures).toEqual([]);
  expect(report.failed).toBe(0);
  expect(report.lastSecondBeforeMark[victim.name]).toBeGreaterThan(0);
  expect(report.phases[1]!.ok).toBeGreaterThan(0);

  victim.start();
  const healed = await cluster().phase("web", "running");
  expect(healed.containers.map((c) => c.nodeName).sort()).toEqual(
    web.view.containers.map((c) => c.nodeName).sort(),
  );
  await cluster().allUp();
});

test("no request fails when a whole node is stopped under load; it is called down, and heals by itself", async () => {
  const victim = cluster().node(web.view.containers[1]!.nodeName);
  const before = await victim.pid("container", web.view.uid);
  const load = loadThroughFourth(9);
  await delay(2_000);
  load.mark("stopped");
  await victim.signal("SIGSTOP");
  const degraded = await cluster().phase("web", "degraded");
  expect(degraded.conditions.map((c) => c.message)).toEqual([`node ${victim.name} is down`]);
  expect((await cluster().api.nodes.get(victim.name)).state).toBe("down");
  expect((await cluster().api.status()).warnings).toContain(`node ${victim.name} is down`);
  load.mark("continued");
  await victim.signal("SIGCONT");
  await cluster().phase("web", "running");
  expect(await victim.pid("container", web.view.uid)).toBe(before);
  const report = await load.report;
  expect(report.failures).toEqual([]);
  expect(report.failed).toBe(0);
  expect(report.lastSecondBeforeMark[victim.name]).toBeGreaterThan(0);
});

test("the events tell that a node went and came back", async () => {
  const victim = web.view.containers[1]!.nodeName;
  const reasons: string[] = [];
  for await (const e of cluster().api.events()) {
    if (e.subject === `node/${victim}`) reasons.push(e.reason);
  }
  expect(reasons).toContain("Down");
  expect(reasons.at(-1)).toBe("Up");
});

function holds(name: string | null): boolean {
  return web.view.containers.some((c) => c.nodeName === name);
}

function loadThroughFourth(seconds: number) {
  const fourth = cluster().nodes.find((n) => !holds(n.name))!;
  const { port, paths, echo } = web;
  return startLoad({ host: fourth.address, port, rate: 300, seconds, paths, echo });
}
