/** What the tests on real host processes share: one cluster per file, small sites, requests as a client sends them. */
import { afterAll, beforeAll, setDefaultTimeout } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { InstanceRequest } from "../../core/api/schema.ts";
import type { ContainerView, InstanceView, ReplicaView, StateView } from "../../core/api/views.ts";
import { DvsError, type ErrorCode } from "../../core/errors.ts";
import { freePort } from "../tools/free-port.ts";
import { type ClusterOptions, TestCluster } from "./cluster.ts";

/** Far more than any needs on a machine that has nothing else to do. */
const timeoutMs = 120_000;

/** A cluster for the tests of this file. Whatever becomes of them, nothing of it is left. */
export function clusterForFile(options: ClusterOptions): () => TestCluster {
  let cluster: TestCluster | undefined;
  setDefaultTimeout(timeoutMs);
  beforeAll(async () => {
    cluster = await TestCluster.start(options);
  }, timeoutMs);
  afterAll(async () => {
    await cluster?.stop();
  }, timeoutMs);
  return () => cluster!;
}

/** Writes files below a new directory of the cluster's; returns it. */
export function writeSite(cluster: TestCluster, name: string, files: Record<string, string>): string {
  const dir = join(cluster.dir, "sites", name);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  return dir;
}

/** A site of so many small pages, and their paths. */
export function pages(count: number): { files: Record<string, string>; paths: string[] } {
  const names = Array.from({ length: count }, (_, i) => `page-${i}.html`);
  const files = Object.fromEntries(names.map((n, i) => [n, `<p>${n}</p>${"x".repeat(i * 7)}\n`]));
  return { files: { "index.html": "<h1>home</h1>\n", ...files }, paths: names.map((n) => `/${n}`) };
}

/** A web instance with an echo route that names its node, made with the CLI. Resolves when it runs. */
export async function createWeb(cluster: TestCluster, name: string, nodes: number, more: string[] = []) {
  const { files, paths } = pages(40);
  const site = writeSite(cluster, name, files);
  const port = await freePort();
  const args = ["--os", "web", "--nodes", String(nodes), "--site", site, "--publish", String(port)];
  const options = ["--set", "echo=/echo", "--set", "nodeHeader=true"];
  const created = await cluster.dvs(["instance", "create", name, ...args, ...options, ...more]);
  if (created.code !== 0) throw new Error(`create ended with ${created.code}: ${created.stderr}`);
  return { port, paths, echo: "/echo", site, view: await cluster.api.instances.get(name) };
}

/** What `hello` is asked for with, without an image. */
export function helloRequest(name: string, nodes: number, ports: number[] = []): InstanceRequest {
  return { name, spec: { os: "hello", nodes, publish: ports.map((port) => ({ port })) } };
}

export async function createHello(
  cluster: TestCluster,
  name: string,
  nodes: number,
): Promise<{ port: number; view: InstanceView }> {
  const port = await freePort();
  await cluster.api.instances.create(helloRequest(name, nodes, [port]));
  return { port, view: await cluster.phase(name, "running") };
}

/** Resolves with the view once all replicas that the instance wants are in sync and serve, and nothing is wrong. */
export async function stateInSync(
  cluster: TestCluster,
  name: string,
): Promise<InstanceView & { state: StateView }> {
  let view: InstanceView | undefined;
  const all = async () => {
    view = await cluster.api.instances.get(name);
    const { state, conditions, phase } = view;
    if (!state || phase !== "running" || conditions.length > 0) return false;
    const well = state.replicas.every((replica) => replica.wanted && replica.inSync && replica.serving);
    return well && state.replicas.some(({ role }) => role === "primary");
  };
  await cluster.until("all replicas are in sync and serve", all, 30_000).catch((e: unknown) => {
    throw new Error(`${String(e)}: ${JSON.stringify(view, null, 1)}`);
  });
  return view as InstanceView & { state: StateView };
}

/** What stays the same of a replica while nothing happens to it; its log grows by what its kernels write. */
export function lastingReplica({ node, wanted, inSync, state, role, epoch, pid }: ReplicaView) {
  return { node, wanted, inSync, state, role, epoch, pid };
}

/** One request on a connection of its own. Rejects when nobody listens. */
export async function get(host: string, port: number, path = "/") {
  const response = await fetch(`http://${host}:${port}${path}`, {
    headers: { connection: "close" },
    redirect: "manual",
    signal: AbortSignal.timeout(10_000),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** The error that an action ends with; throws when it does not. */
export async function failure(action: Promise<unknown>): Promise<DvsError> {
  try {
    await action;
  } catch (thrown) {
    if (thrown instanceof DvsError) return thrown;
    throw thrown;
  }
  throw new Error("it did not fail");
}

export async function codeOf(action: Promise<unknown>): Promise<ErrorCode> {
  return (await failure(action)).code;
}

/** Whether a port is free on an address: what is left open by a removed instance is not. */
export async function refuses(host: string, port: number): Promise<boolean> {
  const { createConnection } = await import("node:net");
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", () => resolve(true));
  });
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** What stays the same of a container as long as its host process does; counters and its kernel's state change. */
export function lasting(container: ContainerView): Partial<ContainerView> {
  const rest: Partial<ContainerView> = { ...container };
  delete rest.requests;
  delete rest.kernel;
  return rest;
}

/** A container without a host process has pid 0, and a signal to that would hit the test itself. */
export function killContainer({ pid, nodeName }: ContainerView, signal: NodeJS.Signals = "SIGKILL"): void {
  if (pid <= 0) throw new Error(`the container on ${nodeName} has no host process`);
  process.kill(pid, signal);
}
