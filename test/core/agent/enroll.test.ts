import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Desired, Heartbeat } from "../../../core/agent-protocol.ts";
import { runAgent } from "../../../core/agent/agent.ts";
import { enrollNode } from "../../../core/agent/enroll.ts";
import { DvsError } from "../../../core/errors.ts";
import { type MutualTlsServer, serveMutualTls } from "../../../core/transport/agent-server.ts";
import { peerOf } from "../../../core/transport/peer.ts";
import {
  type Authority,
  createAuthority,
  fingerprint,
  issueCertificate,
} from "../../../core/trust/authority.ts";
import { containerUri, coordinatorUri, nodeUri } from "../../../core/trust/identity.ts";
import { mintJoinToken, parseJoinToken } from "../../../core/trust/tokens.ts";
import { issued } from "../trust/lab.ts";

const clusterId = "c1";
let dataDir: string;
let cluster: FakeCluster;

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "dvs-"));
  cluster = await FakeCluster.start();
});
afterEach(async () => {
  await cluster.end();
  rmSync(dataDir, { recursive: true, force: true });
});

/** The two ports of a coordinator: the one for people, where a join goes, and the one for agents. */
class FakeCluster {
  readonly ca: Authority;
  readonly workloadCa: Authority;
  readonly joins: { secret: string; csr: string }[] = [];
  readonly heartbeats: Heartbeat[] = [];
  /** What the next join's answer is changed by; null: the connection is cut instead. */
  tamper: ((answer: Record<string, unknown>) => Record<string, unknown>) | null = (answer) => answer;
  desired: Desired | null = null;
  token = "";
  #api: Server | null = null;
  #agents: MutualTlsServer | null = null;

  static async start(): Promise<FakeCluster> {
    const cluster = new FakeCluster(await createAuthority("cluster"), await createAuthority("workload"));
    await cluster.#listen();
    return cluster;
  }

  constructor(ca: Authority, workloadCa: Authority) {
    this.ca = ca;
    this.workloadCa = workloadCa;
  }

  async #listen(): Promise<void> {
    const own = await issued(this.ca, coordinatorUri(clusterId, "k1"));
    const api = createServer({ cert: own.certificate, key: own.key }, (request, response) => {
      let text = "";
      request.on("data", (bytes: Buffer) => (text += bytes.toString()));
      request.on("end", () => {
        void this.#join(JSON.parse(text) as { secret: string; csr: string }).then((answer) => {
          if (answer) response.end(JSON.stringify(answer));
          else response.socket?.destroy();
        });
      });
    });
    await new Promise<void>((resolve) => {
      api.listen(0, "127.0.0.1", resolve);
    });
    this.#api = api;
    const { port } = api.address() as AddressInfo;
    const { certificate, key } = own;
    const caFingerprint = fingerprint(this.ca.certificate);
    this.token = mintJoinToken({ addresses: [`127.0.0.1:${port}`], caFingerprint }).token;
    this.#agents = await serveMutualTls({
      host: "127.0.0.1",
      port: 0,
      certificate,
      key,
      ca: this.ca.certificate,
      check: peerOf(["node"], clusterId),
      fetch: (request) => this.#agent(request),
    });
  }

  async #join(request: { secret: string; csr: string }): Promise<Record<string, unknown> | null> {
    this.joins.push(request);
    const { csr } = request;
    const certificate = await issueCertificate(this.ca, { csr, uri: nodeUri(clusterId, "n-1"), days: 30 });
    return (
      this.tamper?.({
        nodeId: "n-1",
        clusterId,
        certificate,
        clusterCa: this.ca.certificate,
        workloadCa: this.workloadCa.certificate,
        agentAddresses: [`127.0.0.1:${this.#agents?.port}`],
      }) ?? null
    );
  }

  async #agent(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/agent/v1/desired") {
      const lines = [{ type: "desired", desired: this.desired }, { type: "a newer one" }, { type: "ping" }];
      const body = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
      return new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new TextEncoder().encode(body)),
        }),
      );
    }
    if (pathname === "/agent/v1/heartbeat") {
      this.heartbeats.push((await request.json()) as Heartbeat);
      return Response.json({ reportWanted: false });
    }
    const { csr } = (await request.json()) as { csr: string };
    const uri = containerUri({ clusterId, tenant: "default", instance: "web", uid: "u1", nodeId: "n-1" });
    const certificate = await issueCertificate(this.workloadCa, { csr, uri, days: 30 });
    return Response.json({ certificate, authority: this.workloadCa.certificate });
  }

  async end(): Promise<void> {
    this.#api?.closeAllConnections();
    this.#api?.close();
    await this.#agents?.close(0);
  }
}

const join1 = (token = cluster.token) => enrollNode({ token, dataDir, name: "n1", address: "127.0.0.1" });
const codeOf = (e: unknown) => DvsError.from(e).code;

test("a machine joins over TLS, and its agent runs a container for a coordinator over mutual TLS", async () => {
  expect(await join1()).toEqual({ nodeId: "n-1", clusterId, name: "n1", resumed: false });
  expect(statSync(join(dataDir, "certificates.json")).mode & 0o777).toBe(0o600);
  expect(statSync(dataDir).mode & 0o777).toBe(0o700);
  cluster.desired = {
    clusterId,
    storeGeneration: 1,
    revision: 1,
    node: { id: "n-1", name: "n1", address: "127.0.0.1" },
    containers: [
      {
        tenant: "default",
        instance: "web",
        uid: "u1",
        generation: 1,
        os: "web",
        image: null,
        options: { witness: join(dataDir, "witness") },
      },
    ],
    replicas: [],
    routes: [],
  };
  const ending = new AbortController();
  const fake = new URL("fake-process.ts", import.meta.url).pathname;
  const exit = runAgent({
    dataDir,
    signal: ending.signal,
    stopContainers: true,
    command: (args) => ({ command: process.execPath, args: ["--no-install", fake, ...args] }),
  });
  const isReady = () => cluster.heartbeats.some((h) => h.report?.containers[0]?.state === "ready");
  for (let i = 0; i < 500 && !isReady(); i++) {
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
  expect(isReady()).toBe(true);
  ending.abort();
  expect(await exit).toBe(0);
  const boot = JSON.parse(readFileSync(join(dataDir, "run/c/u1/boot.json"), "utf8")) as {
    tls: { ca: string };
  };
  expect(boot.tls.ca).toBe(cluster.ca.certificate);
}, 30_000);

test("a machine that has joined resumes without using a token or reaching anybody", async () => {
  await join1();
  const { token } = cluster;
  await cluster.end();
  expect(await join1(token)).toMatchObject({ nodeId: "n-1", resumed: true });
  expect(cluster.joins).toHaveLength(1);
});

test("a machine of one cluster is not joined to another, and is told what to do", async () => {
  await join1();
  const other = await FakeCluster.start();
  const e = await join1(other.token).catch((e: unknown) => e);
  await other.end();
  expect(codeOf(e)).toBe("CONFLICT");
  expect(String(e)).toContain("dvs node leave");
  expect(other.joins).toHaveLength(0);
});

test("a join whose answer is lost is repeated with the same key, so under the same id", async () => {
  const { tamper } = cluster;
  cluster.tamper = null;
  expect(["UNAVAILABLE", "OUTCOME_UNKNOWN"]).toContain(codeOf(await join1().catch((e: unknown) => e)));
  cluster.tamper = tamper;
  expect((await join1()).resumed).toBe(false);
  expect(cluster.joins.length).toBeGreaterThanOrEqual(2);
  expect(new Set(cluster.joins.map((j) => j.csr)).size).toBe(1);
});

test("a server that the token's hash does not vouch for never sees the secret", async () => {
  const other = await FakeCluster.start();
  const { addresses } = parseJoinToken(other.token);
  const caFingerprint = fingerprint(cluster.ca.certificate);
  const { token } = mintJoinToken({ addresses, caFingerprint });
  expect(codeOf(await join1(token).catch((e: unknown) => e))).toBe("UNAUTHENTICATED");
  await other.end();
  expect(other.joins).toHaveLength(0);
});

test("an answer that contradicts itself joins nothing", async () => {
  const other = await createAuthority("other");
  for (const wrong of [
    { nodeId: "n-2" },
    { clusterId: "c2" },
    { clusterCa: other.certificate },
    { agentAddresses: [] },
  ]) {
    cluster.tamper = (answer) => ({ ...answer, ...wrong });
    expect(codeOf(await join1().catch((e: unknown) => e))).toBe("INTERNAL");
  }
  cluster.tamper = (answer) => answer;
  expect((await join1()).resumed).toBe(false);
});

test("bad names and data directories too long for sockets are refused before anything is sent", async () => {
  const bad = enrollNode({ token: cluster.token, dataDir, name: "Not a name", address: "127.0.0.1" });
  expect(codeOf(await bad.catch((e: unknown) => e))).toBe("INVALID");
  const deep = join(dataDir, "d".repeat(60));
  const long = enrollNode({ token: cluster.token, dataDir: deep, name: "n1", address: "127.0.0.1" });
  const e = await long.catch((e: unknown) => e);
  expect(codeOf(e)).toBe("INVALID");
  expect(String(e)).toContain("bytes too long");
  expect(cluster.joins).toHaveLength(0);
});

test("a damaged identity is neither started from nor joined over", async () => {
  await join1();
  for (const damage of ['{"version":1,', "", "{}"]) {
    writeFileSync(join(dataDir, "identity.json"), damage);
    const started = runAgent({ dataDir, signal: new AbortController().signal });
    for (const e of [await started.catch((e: unknown) => e), await join1().catch((e: unknown) => e)]) {
      expect(codeOf(e)).toBe("FAILED");
      expect(String(e)).toContain("identity.json: it is missing or damaged");
    }
  }
  expect(cluster.joins).toHaveLength(1);
});

test("an agent on a directory that has not joined says how to join", async () => {
  const e = await runAgent({ dataDir, signal: new AbortController().signal }).catch((e: unknown) => e);
  expect(codeOf(e)).toBe("NOT_FOUND");
  expect(String(e)).toContain("dvs node join");
});
