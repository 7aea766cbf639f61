/** A node as the coordinator sees it: joined with a token, on the agents' real port, reporting whatever a test says. */
import type { CoordinatorLink } from "../../../core/agent/coordinator-link.ts";
import type { Enrolled } from "../../../core/agent/identity.ts";
import type { ReplicaStatus } from "../../../core/state/replica-status.ts";
import { connectCoordinators } from "../../../core/agent/transport-link.ts";
import type {
  ContainerReport,
  ReplicaReport,
  Desired,
  HeartbeatAnswer,
  Report,
  ToAgent,
} from "../../../core/agent-protocol.ts";
import { JoinAnswer, type JoinRequest } from "../../../core/api/schema.ts";
import { DvsError } from "../../../core/errors.ts";
import { createClient } from "../../../core/transport/client.ts";
import { createKeyAndCsr } from "../../../core/trust/key.ts";
import { parseJoinToken } from "../../../core/trust/tokens.ts";
import { until, type Lab } from "./lab.ts";

export interface KeyPair {
  key: string;
  csr: string;
}

/** Sends a join; rejects with the coordinator's error. */
export async function join(
  text: string,
  of: Partial<JoinRequest> & { name: string },
  pair?: KeyPair,
): Promise<Enrolled> {
  const token = parseJoinToken(text);
  const { key, csr } = pair ?? (await createKeyAndCsr("node"));
  const client = createClient({ addresses: token.addresses, trust: { pin: token.caFingerprint } });
  const request: JoinRequest = { id: token.id, secret: token.secret, csr, address: "127.0.0.1", ...of };
  try {
    const response = await client.request({
      method: "POST",
      path: "/v1/join",
      body: JSON.stringify(request),
    });
    const body: unknown = await response.json();
    if (!response.ok) throw DvsError.fromBody(body);
    const { nodeId, clusterId, certificate, clusterCa, workloadCa, agentAddresses } = JoinAnswer.parse(body);
    return {
      identity: {
        version: 1,
        clusterId,
        nodeId,
        name: of.name,
        address: request.address,
        labels: {},
        agentAddresses,
        joinedAt: new Date().toISOString(),
      },
      certificates: { certificate, key, clusterCa, workloadCa },
    };
  } finally {
    client.close();
  }
}

export class FakeAgent {
  readonly enrolled: Enrolled;
  readonly messages: ToAgent[] = [];
  desired: Desired | null = null;
  /** Whether what is desired is reported as ready and open. */
  obedient = true;
  streamEnded = false;
  readonly #link: CoordinatorLink;
  readonly #abort = new AbortController();
  #incarnation = crypto.randomUUID();
  #sequence = 0;
  #beats: ReturnType<typeof setInterval> | undefined;

  private constructor(enrolled: Enrolled, link: CoordinatorLink) {
    this.enrolled = enrolled;
    this.#link = link;
  }

  static async join(lab: Lab, name: string): Promise<FakeAgent> {
    const { token } = await lab.api.tokens.create({ kind: "join" });
    return FakeAgent.of(lab, await join(token, { name }));
  }

  static async of(lab: Lab, enrolled: Enrolled): Promise<FakeAgent> {
    const agent = new FakeAgent(enrolled, await connectCoordinators(enrolled));
    lab.onClose(() => agent.close());
    return agent;
  }

  get id(): string {
    return this.enrolled.identity.nodeId;
  }
  get link(): CoordinatorLink {
    return this.#link;
  }

  /** Opens the stream of messages; resolves with the first. */
  async listen(onMessage: (message: ToAgent) => void = () => undefined): Promise<ToAgent> {
    const first = Promise.withResolvers<ToAgent>();
    const read = async () => {
      try {
        for await (const message of this.#link.messages(this.#abort.signal)) {
          this.messages.push(message);
          first.resolve(message);
          if (message.type === "desired") {
            this.desired = message.desired;
            if (this.obedient && this.#beats) await this.beat().catch(() => undefined);
          }
          onMessage(message);
        }
      } catch (e) {
        first.reject(e);
      }
      this.streamEnded = true;
    };
    void read();
    return first.promise;
  }

  /** What each of its state processes tells of itself. */
  replicaStatus: ReplicaStatus | null = null;

  /** Listens and beats as an agent does. */
  async run(): Promise<this> {
    this.#beats = setInterval(() => void this.beat().catch(() => undefined), 100);
    // Of several coordinators one acts, and the others say so.
    for (let tries = 0; ; tries++) {
      try {
        await this.beat();
        break;
      } catch (e) {
        if (!(e instanceof DvsError && e.code === "UNAVAILABLE") || tries === 10) throw e;
        this.#link.rotate(this.#link.address());
      }
    }
    await this.listen();
    return this;
  }

  beat(report: Report | null = this.report()): Promise<HeartbeatAnswer> {
    this.#sequence++;
    const beat = { incarnation: this.#incarnation, sequence: this.#sequence };
    return this.#link.heartbeat(report ? { ...beat, report } : beat, this.#abort.signal);
  }

  /** What is desired, as done. */
  report(): Report {
    const containers = (this.desired?.containers ?? []).map(
      ({ tenant, instance, uid, generation }): ContainerReport => ({
        tenant,
        instance,
        uid,
        incarnation: `i-${this.id}-${uid}`.slice(0, 60),
        generation,
        state: "ready",
        reason: "",
        permanent: false,
        pid: 1,
        port: 40_000,
        restarts: 0,
        startedAt: "2026-01-01T00:00:00.000Z",
        requests: 0,
      }),
    );
    const replicas = (this.desired?.replicas ?? []).map(
      ({ tenant, instance, uid, generation, run }): ReplicaReport => ({
        ...{ tenant, instance, uid, generation, disk: "", incarnation: "i1", reason: "", permanent: false },
        ...{ state: run ? "ready" : "kept", pid: 1, restarts: 0, startedAt: "", status: this.replicaStatus },
      }),
    );
    const ports = (this.desired?.routes ?? []).map(({ port, uid }) => ({
      port,
      uid,
      state: "open" as const,
      reason: "",
    }));
    return {
      version: "test",
      runtime: "test",
      bootId: "b",
      cpus: 1,
      memoryBytes: 1,
      diskFreeBytes: 1,
      revision: this.desired?.revision ?? 0,
      containers: this.obedient ? containers : [],
      replicas: this.obedient ? replicas : [],
      ports: this.obedient ? ports : [],
      ingressRequests: 0,
      warnings: [],
    };
  }

  /** Resolves when a message of the type has come. */
  async told<T extends ToAgent["type"]>(type: T): Promise<Extract<ToAgent, { type: T }>> {
    const find = () => this.messages.find((m) => m.type === type);
    await until(() => find() !== undefined);
    return find() as Extract<ToAgent, { type: T }>;
  }

  /** As kill -9 of its machine: every connection is cut. */
  close(): void {
    clearInterval(this.#beats);
    this.#abort.abort();
    this.#link.close();
  }
}
