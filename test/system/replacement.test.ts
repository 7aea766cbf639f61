/** Containers move: off nodes that stay away, off nodes that leave, and off nodes that are removed. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { startLoad } from "../tools/load-process.ts";
import { clusterForFile, createWeb, get } from "./fixture.ts";
import { agentsPort, answerOf, nodePair } from "./tls.ts";

const cluster = clusterForFile({
  nodes: 4,
  coordinatorEnv: { DVS_COORDINATOR_REPLACE_AFTER_MS: "3500" },
});
let web: Awaited<ReturnType<typeof createWeb>>;

const holders = async () => (await cluster().api.instances.get("web")).containers.map((c) => c.nodeName);
const isRunningWithout = async (name: string) => {
  const { phase, containers } = await cluster().api.instances.get("web");
  return phase === "running" && containers.length === 3 && !containers.some((c) => c.nodeName === name);
};
/** A node with a container of web, and the one without. */
async function some() {
  const names = await holders();
  return {
    holder: cluster().node(names[0]!),
    spare: cluster().nodes.find((n) => !names.includes(n.name))!,
  };
}

test("a container of a node that stays away gets a place on another one; when its node returns it is stopped", async () => {
  web = await createWeb(cluster(), "web", 3);
  const { holder, spare } = await some();
  const stale = await holder.pid("container", web.view.uid);
  await holder.signal("SIGSTOP");
  await cluster().phase("web", "degraded");
  await cluster().until("it runs on another node", () => isRunningWithout(holder.name));
  expect(await holders()).toContain(spare.name);
  expect((await get(spare.address, web.port)).headers.get("x-dvs-node")).toBe(spare.name);

  await holder.signal("SIGCONT");
  await cluster().until("the stale container is stopped", async () =>
    (await holder.processes()).every((p) => p.pid !== stale),
  );
  await cluster().until(
    "nothing is left of it",
    () => !existsSync(join(holder.dataDir, "run/c", web.view.uid)),
  );
  await cluster().allUp();
  await cluster().until("it is complete without it", () => isRunningWithout(holder.name));
  // Its port leads to the others.
  const answer = await get(holder.address, web.port);
  expect(answer.status).toBe(200);
  expect(await holders()).toContain(answer.headers.get("x-dvs-node")!);
});

test("a node that lost its power and returns after its containers were replaced does not start them again", async () => {
  const { holder } = await some();
  await holder.kill();
  await cluster().until("it runs elsewhere", () => isRunningWithout(holder.name));
  holder.start();
  await cluster().allUp();
  await cluster().until("its port is open", async () => (await get(holder.address, web.port)).status === 200);
  expect((await holder.processes()).filter((p) => p.kind === "container")).toEqual([]);
  await cluster().until("it is complete without it", () => isRunningWithout(holder.name));
});

test("a node that leaves is drained without a failed request, and its agent ends with 0", async () => {
  const { holder, spare } = await some();
  const stays = cluster().nodes.find((n) => n !== holder && n !== spare)!;
  const agent = await holder.pid("agent");
  const load = startLoad({ host: stays.address, rate: 200, seconds: 20, ...web });
  load.mark("leaves");
  const left = await cluster().dvs(["node", "leave", holder.name, "--timeout", "30s"]);
  expect({ code: left.code, stderr: left.code === 0 ? "" : left.stderr }).toEqual({ code: 0, stderr: "" });
  expect(await cluster().ended(agent)).toBe(0);
  expect(await holder.processes()).toEqual([]);
  await cluster().until("it runs without it", () => isRunningWithout(holder.name));
  load.stop();
  const report = await load.report;
  expect(report.failures).toEqual([]);
  expect(report.failed).toBe(0);
  expect((await cluster().api.nodes.list()).map((n) => n.name)).not.toContain(holder.name);

  // The machine may come back, as a new node.
  const { token } = await cluster().api.tokens.create({ kind: "join", uses: 1 });
  holder.join(token);
  await cluster().allUp();
  await cluster().until("its port is open", async () => (await get(holder.address, web.port)).status === 200);
});

test("node rm refuses a node that is up; with --force its agent stops everything, and its certificate is worth nothing", async () => {
  const { holder } = await some();
  const agent = await holder.pid("agent");
  const refused = await cluster().dvs(["node", "rm", holder.name]);
  expect(refused.code).toBe(4);
  expect(refused.stderr).toContain("--force");

  const pair = nodePair(holder);
  const [host, port] = agentsPort(holder).split(":");
  const { id } = holder;
  const call = () => answerOf(host!, Number(port), "/agent/v1/nothing", pair);
  expect(await call()).not.toContain("removed");
  expect((await cluster().dvs(["node", "rm", holder.name, "--force"])).code).toBe(0);
  expect(await cluster().ended(agent)).toBe(0);
  expect(await holder.processes()).toEqual([]);
  expect(existsSync(join(holder.dataDir, "identity.json"))).toBe(false);
  await cluster().until("it runs elsewhere", () => isRunningWithout(holder.name));
  expect(await call()).toContain(`Node ${id} is not in this cluster: it was removed`);
});

test("a node that was removed while it was down ends when it returns, and may join again", async () => {
  const gone = cluster().nodes.findIndex((n) => !existsSync(join(n.dataDir, "identity.json")));
  cluster().nodes.splice(gone, 1);
  const victim = cluster().node((await holders())[0]!);
  await victim.kill();
  await cluster().until(
    "it is down",
    async () => (await cluster().api.nodes.get(victim.name)).state === "down",
  );
  expect((await cluster().dvs(["node", "rm", victim.name])).code).toBe(0);
  const returned = victim.start();
  expect(await cluster().ended(returned)).toBe(0);
  expect(await victim.processes()).toEqual([]);
  const { token } = await cluster().api.tokens.create({ kind: "join", uses: 1 });
  victim.join(token);
  await cluster().allUp();
  await cluster().phase("web", "running");
});
