/** Two instances of different VOSes on overlapping nodes: each serves, neither can reach the other. */
import { expect, test } from "bun:test";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { parseIdentity } from "../../core/trust/identity.ts";
import { derOf } from "../../core/trust/certificate.ts";
import type { TestNode } from "./cluster.ts";
import { clusterForFile, createHello, createWeb, get } from "./fixture.ts";
import { agentsPort, ask, containerPair, nodePair } from "./tls.ts";

const health = "/.well-known/dvs/health";
const cluster = clusterForFile({ nodes: 3 });
let web: Awaited<ReturnType<typeof createWeb>>;
let hello: Awaited<ReturnType<typeof createHello>>;
/** A node with a container of both. */
let shared: TestNode;

test("two instances of different VOSes share nodes, and every node serves both", async () => {
  web = await createWeb(cluster(), "web", 2);
  hello = await createHello(cluster(), "hello", 2);
  const holders = (view: { containers: { nodeName: string }[] }) => view.containers.map((c) => c.nodeName);
  const both = holders(web.view).filter((n) => holders(hello.view).includes(n));
  expect(both).toHaveLength(1);
  shared = cluster().node(both[0]!);
  for (const { address } of cluster().nodes) {
    expect((await get(address, web.port)).text).toBe("<h1>home</h1>\n");
    expect(JSON.parse((await get(address, hello.port)).text)).toMatchObject({ instance: "hello" });
  }
});

test("a container's TCP port takes nodes, and no container: not of its own instance, not of another", async () => {
  const target = web.view.containers.find((c) => c.nodeName !== shared.name)!;
  const { address } = cluster().node(target.nodeName);
  expect(await ask(address, target.port, health, nodePair(shared))).toBe(200);
  expect(await ask(address, target.port, health, containerPair(shared, hello.view.uid))).toBeNull();
  expect(await ask(address, target.port, health, containerPair(shared, web.view.uid))).toBeNull();
  expect(await ask(address, target.port, health)).toBeNull();
});

test("a container's certificate opens nothing at the agents' port", async () => {
  const [host, port] = agentsPort(shared).split(":");
  const ask1 = (pair?: Parameters<typeof ask>[3]) => ask(host!, Number(port), "/agent/v1/nothing", pair);
  expect(await ask1(nodePair(shared))).toBe(404);
  expect(await ask1(containerPair(shared, web.view.uid))).toBeNull();
  expect(await ask1()).toBeNull();
});

test("a container's certificate names its instance and node, and nothing else", () => {
  const pair = containerPair(shared, web.view.uid);
  expect(parseIdentity(derOf(pair.certificate))).toEqual({
    kind: "container",
    clusterId: nodeClusterId(shared),
    tenant: web.view.tenant,
    instance: "web",
    uid: web.view.uid,
    nodeId: shared.id,
  });
});

test("directories of nodes and containers are private, and so is every file with a key", () => {
  const dirs = [
    shared.dataDir,
    join(shared.dataDir, "run"),
    ...[web, hello].map((i) => join(shared.dataDir, "run/c", i.view.uid)),
    cluster().coordinatorDir,
  ];
  for (const dir of dirs) expect({ dir, mode: modeOf(dir) }).toEqual({ dir, mode: "700" });
  const secrets = dirs.flatMap((dir) => readdirSync(dir).map((f) => join(dir, f))).filter(holdsKey);
  expect(secrets.length).toBeGreaterThanOrEqual(5);
  for (const file of secrets) expect({ file, mode: modeOf(file) }).toEqual({ file, mode: "600" });
});

test("a container has open nothing of another one, and none of the agent's environment", async () => {
  const pid = await shared.pid("container", hello.view.uid);
  const foreign = join(shared.dataDir, "run/c", web.view.uid);
  const open = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
  expect(open.filter((path) => path.startsWith(foreign))).toEqual([]);
  expect(
    open.filter((path) => path.startsWith(join(shared.dataDir, "run/c", hello.view.uid))).length,
  ).toBeGreaterThan(0);
  const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  expect(environment.filter((v) => v.startsWith("DVS_"))).toEqual([]);
});

test("the end of one instance's containers changes nothing of the other", async () => {
  const before = await shared.pid("container", hello.view.uid);
  process.kill(await shared.pid("container", web.view.uid), "SIGKILL");
  await cluster().until("web's container was started again", async () => {
    const { containers } = await cluster().api.instances.get("web");
    return containers.some((c) => c.nodeName === shared.name && c.restarts === 1 && c.state === "ready");
  });
  const removed = await cluster().dvs(["instance", "rm", "web"]);
  expect(removed.stderr).toContain("web removed");
  expect(removed.code).toBe(0);
  const view = await cluster().api.instances.get("hello");
  expect(view.phase).toBe("running");
  expect(view.containers.map((c) => c.restarts)).toEqual([0, 0]);
  expect(await shared.pid("container", hello.view.uid)).toBe(before);
  expect((await get(shared.address, hello.port)).status).toBe(200);
});

function modeOf(path: string): string {
  return (lstatSync(path).mode & 0o777).toString(8);
}

function holdsKey(path: string): boolean {
  return lstatSync(path).isFile() && /PRIVATE KEY|dvs[ja]1\./.test(readFileSync(path, "latin1"));
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // closed in between
  }
}

function nodeClusterId(node: TestNode): string {
  const identity = JSON.parse(readFileSync(join(node.dataDir, "identity.json"), "utf8")) as {
    clusterId: string;
  };
  return identity.clusterId;
}
