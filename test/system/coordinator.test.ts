/** The coordinator dies, stays away and returns: what runs is not disturbed, and nothing is forgotten. */
import { expect, test } from "bun:test";
import { processStartTime } from "../../core/platform/uptime.ts";
import { startLoad } from "../tools/load-process.ts";
import {
  clusterForFile,
  createHello,
  createWeb,
  delay,
  get,
  lasting,
  lastingReplica,
  stateInSync,
} from "./fixture.ts";

const cluster = clusterForFile({ nodes: 4, coordinatorArgs: ["--no-join-token"] });
let web: Awaited<ReturnType<typeof createWeb>>;

test("coordinator and a container killed in the same second under load: no request fails, nothing is lost", async () => {
  web = await createWeb(cluster(), "web", 3);
  await createHello(cluster(), "hello", 2);
  await stateInSync(cluster(), "hello");
  const before = await state();
  const [victim, ...others] = web.view.containers;
  const load = loadThroughFourth(7);
  await delay(2_000);
  load.mark("killed");
  cluster().killCoordinator();
  process.kill(victim!.pid, "SIGKILL");
  await cluster().coordinatorGone();
  const node = cluster().node(victim!.nodeName);
  // Its agent starts it again without anybody's leave.
  await cluster().until(
    "the agent has started it again",
    async () => (await node.pid("container", web.view.uid)) !== victim!.pid,
  );
  await delay(1_000);
  await cluster().startCoordinator();
  const healed = await cluster().phase("web", "running");
  const report = await load.report;
  expect(report.failures).toEqual([]);
  expect(report.failed).toBe(0);
  expect(report.lastSecondBeforeMark[victim!.nodeName]).toBeGreaterThan(0);
  expect(report.phases[1]!.perNode[victim!.nodeName]).toBeGreaterThan(0);

  const now = healed.containers.find((c) => c.node === victim!.node)!;
  expect(now.incarnation).not.toBe(victim!.incarnation);
  expect(now.restarts).toBe(1);
  for (const c of others) expect(healed.containers.map(lasting)).toContainEqual(lasting(c));
  const after = await state();
  expect(after.hello).toEqual(before.hello);
  expect({ ...after, web: null }).toEqual({ ...before, web: null });
});

test("while the coordinator is down instances serve, agents restart what dies, and a killed agent's successor adopts", async () => {
  const before = await cluster().api.instances.get("web");
  cluster().killCoordinator();
  await cluster().coordinatorGone();

  const [first, second] = before.containers.map((c) => ({ ...c, at: cluster().node(c.nodeName) }));
  process.kill(first!.pid, "SIGKILL");
  const agent = await second!.at.pid("agent");
  const ingress = await second!.at.pid("ingress");
  process.kill(agent, "SIGKILL");
  await cluster().until("the agent is gone", () => processStartTime(agent) === null);
  second!.at.start();
  await cluster().until("the next agent is there", async () => (await second!.at.pid("agent")) !== agent);
  await cluster().until(
    "the container is restarted",
    async () => (await first!.at.pid("container", web.view.uid)) > 0,
  );
  // Also through nodes whose tables nobody can bring up to date now.
  const fourth = cluster().nodes.find((n) => !before.containers.some((c) => c.nodeName === n.name))!;
  const seen = new Set<string | null>();
  await cluster().until("the fourth node reaches all three", async () => {
    const answer = await get(fourth.address, web.port);
    expect(answer.status).toBe(200);
    seen.add(answer.headers.get("x-dvs-node"));
    return seen.size === 3;
  });
  expect(await second!.at.pid("container", web.view.uid)).toBe(second!.pid);
  expect(await second!.at.pid("ingress")).toBe(ingress);

  await cluster().startCoordinator();
  await cluster().allUp();
  const after = await cluster().phase("web", "running");
  const adopted = after.containers.find((c) => c.node === second!.node)!;
  expect({ pid: adopted.pid, incarnation: adopted.incarnation, restarts: adopted.restarts }).toEqual({
    pid: second!.pid,
    incarnation: second!.incarnation,
    restarts: second!.restarts,
  });
});

test("a coordinator that is stopped and continued finds its nodes up, and calls none of them down", async () => {
  const events = async () => {
    const all: string[] = [];
    for await (const e of cluster().api.events()) all.push(`${e.subject} ${e.reason}`);
    return all;
  };
  const before = await state();
  cluster().killCoordinator("SIGSTOP");
  await delay(4_000);
  cluster().killCoordinator("SIGCONT");
  await cluster().coordinatorAnswers();
  await delay(1_000);
  await cluster().allUp();
  expect(await state()).toEqual(before);
  expect((await events()).filter((e) => e.endsWith(" Down"))).toEqual([]);
});

/** All that must be the same before and after, but for figures that never stand still. */
async function state() {
  const { api } = cluster();
  const instance = async (name: string) => {
    const { containers, state: kept, ...view } = await api.instances.get(name);
    // Kernels that were started anew join in their own time.
    delete view.kernels;
    const replicas = kept?.replicas.map(lastingReplica);
    return { ...view, containers: containers.map(lasting), state: { ...kept, replicas } };
  };
  const nodes = (await api.nodes.list()).map(({ id, name, address, labels, state }) => ({
    id,
    name,
    address,
    labels,
    state,
  }));
  return {
    web: await instance("web"),
    hello: await instance("hello"),
    nodes,
    tokens: await api.tokens.list(),
    images: await api.images.list(),
    clusterId: (await api.status()).clusterId,
  };
}

function loadThroughFourth(seconds: number) {
  const fourth = cluster().nodes.find((n) => !web.view.containers.some((c) => c.nodeName === n.name))!;
  const { port, paths, echo } = web;
  return startLoad({ host: fourth.address, port, rate: 300, seconds, paths, echo });
}
