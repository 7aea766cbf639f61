/** A coordinator as agents see it, on plain HTTP of the loopback, with real certificates. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ChangeAnswer, Desired, Heartbeat, Report, ToAgent } from "../../../core/agent-protocol.ts";
import type { ReplicaSet } from "../../../core/state/replica-set.ts";
import { type Authority, createAuthority, issueCertificate } from "../../../core/trust/authority.ts";
import { containerUri, nodeUri } from "../../../core/trust/identity.ts";
import { createKeyAndCsr } from "../../../core/trust/key.ts";
import type { Enrolled } from "../../../core/agent/identity.ts";

export const clusterId = "c1";
export const nodeId = "n-1";

export class FakeCoordinator {
  readonly clusterCa: Authority;
  readonly workloadCa: Authority;
  readonly heartbeats: Heartbeat[] = [];
  readonly logs = new Map<string, string>();
  report: Report | null = null;
  desired: Desired | null = null;
  /** What was asked for state processes, in order. */
  readonly stateCalls: { call: string; body: Record<string, unknown> }[] = [];
  replicas: ReplicaSet | null = null;
  /** Whether data may be removed; null: it does not say. */
  gone: boolean | null = true;
  changeAnswer: ChangeAnswer | null = { outcome: "done", reason: "" };
  /** While set, no exit certificate is answered. */
  exitsHeld: Promise<void> | null = null;
  /** Answers that fail, as when it is being started. */
  refuses = false;
  port = 0;
  #server: Server | null = null;
  readonly #streams = new Set<ServerResponse>();
  #forget = true;
  #pings: ReturnType<typeof setInterval> | undefined;

  static async start(): Promise<FakeCoordinator> {
    const [clusterCa, workloadCa] = await Promise.all([
      createAuthority("cluster"),
      createAuthority("workload"),
    ]);
    const coordinator = new FakeCoordinator(clusterCa, workloadCa);
    await coordinator.listen();
    return coordinator;
  }

  constructor(clusterCa: Authority, workloadCa: Authority) {
    this.clusterCa = clusterCa;
    this.workloadCa = workloadCa;
  }

  async listen(): Promise<void> {
    this.#forget = true;
    const server = createServer((request, response) => {
      this.#answer(request, response).catch((e: unknown) => {
        response.statusCode = 500;
        response.end(String(e));
      });
    });
    await new Promise<void>((resolve) => {
      server.listen(this.port, "127.0.0.1", resolve);
    });
    this.port = (server.address() as AddressInfo).port;
    this.#pings = setInterval(() => this.send({ type: "ping" }), 1_000);
    this.#server = server;
  }

  /** As when its machine dies. */
  async down(): Promise<void> {
    clearInterval(this.#pings);
    for (const stream of this.#streams) stream.destroy();
    this.#streams.clear();
    const server = this.#server;
    this.#server = null;
    server?.closeAllConnections();
    await new Promise<void>((resolve) => {
      if (server) server.close(() => resolve());
      else resolve();
    });
  }

  want(desired: Desired): void {
    this.desired = desired;
    this.send({ type: "desired", desired });
  }

  send(message: ToAgent): void {
    for (const stream of this.#streams) stream.write(`${JSON.stringify(message)}\n`);
  }

  /** As a join leaves it, `ageDays` ago. */
  async enrolled(ageDays = 0): Promise<Enrolled> {
    const { key, csr } = await createKeyAndCsr("n1");
    const uri = nodeUri(clusterId, nodeId);
    const now = new Date(Date.now() - ageDays * 86_400_000);
    const certificate = await issueCertificate(this.clusterCa, { csr, uri, days: 30, now });
    return {
      identity: {
        version: 1,
        clusterId,
        nodeId,
        name: "n1",
        address: "127.0.0.1",
        labels: {},
        agentAddresses: [`127.0.0.1:${this.port}`],
        joinedAt: new Date().toISOString(),
      },
      certificates: {
        certificate,
        key,
        clusterCa: this.clusterCa.certificate,
        workloadCa: this.workloadCa.certificate,
      },
    };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? "";
    if (this.refuses) {
      response.statusCode = 503;
      response.end("{}");
      return;
    }
    if (url === "/agent/v1/desired") {
      this.#streams.add(response);
      response.on("close", () => this.#streams.delete(response));
      if (this.desired) response.write(`${JSON.stringify({ type: "desired", desired: this.desired })}\n`);
      response.write(`${JSON.stringify({ type: "ping" })}\n`);
      return;
    }
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const json = (value: unknown) => response.end(JSON.stringify(value));
    if (url === "/agent/v1/heartbeat") {
      const heartbeat = JSON.parse(body) as Heartbeat;
      this.heartbeats.push(heartbeat);
      if (heartbeat.report) {
        this.report = heartbeat.report;
        this.#forget = false;
      }
      return void json({ reportWanted: this.#forget });
    }
    if (url === "/agent/v1/certificate") {
      const { csr } = JSON.parse(body) as { csr: string };
      const uri = nodeUri(clusterId, nodeId);
      return void json({ certificate: await issueCertificate(this.clusterCa, { csr, uri, days: 30 }) });
    }
    const certificate = /^\/agent\/v1\/instances\/([^/]+)\/certificate$/.exec(url);
    if (certificate) {
      const { csr } = JSON.parse(body) as { csr: string };
      const uid = certificate[1]!;
      const { containers = [], replicas = [] } = this.desired ?? {};
      const spec = [...containers, ...replicas].find((c) => c.uid === uid);
      if (!spec) throw new Error(`no container ${uid}`);
      const uri = containerUri({ clusterId, tenant: spec.tenant, instance: spec.instance, uid, nodeId });
      const pem = await issueCertificate(this.workloadCa, { csr, uri, days: 30 });
      return void json({ certificate: pem, authority: this.workloadCa.certificate });
    }
    const state = /^\/agent\/v1\/instances\/[^/]+\/state(\/[a-z]+)?$/.exec(url);
    if (state) {
      const call = state[1]?.slice(1) ?? "read";
      this.stateCalls.push({ call, body: JSON.parse(body) as Record<string, unknown> });
      if (call === "exit") await this.exitsHeld;
      const gone = this.gone === null ? null : { gone: this.gone };
      const answer =
        call === "gone" ? gone : call === "read" ? this.replicas : call === "change" ? this.changeAnswer : {};
      if (answer) return void json(answer);
      response.statusCode = 503;
      response.end();
      return;
    }
    const stream = /^\/agent\/v1\/streams\/([^/]+)$/.exec(url);
    if (stream) {
      this.logs.set(stream[1]!, body);
      return void json({});
    }
    response.statusCode = 404;
    response.end();
  }
}
