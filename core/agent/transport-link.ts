/** The coordinators over HTTP and mutual TLS. One client for each, so that `rotate` means another machine. */
import { ChangeAnswer, HeartbeatAnswer, StateGone, type StateOf, ToAgent } from "../agent-protocol.ts";
import { DvsError, parseOrThrow } from "../errors.ts";
import { type Client, type ClientRequest, createClient } from "../transport/client.ts";
import { parseNdjson } from "../transport/ndjson.ts";
import { stateAttemptMs, stateBesideMs } from "../limits.ts";
import { ReplicaSet } from "../state/replica-set.ts";
import { peerOf } from "../transport/peer.ts";
import { z } from "zod";
import { askAny } from "./ask-any.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import type { Enrolled } from "./identity.ts";

const CertificateAnswer = z.object({ certificate: z.string() });
const ContainerCertificateAnswer = z.object({ certificate: z.string(), authority: z.string() });
const RecordAnswer = z.object({ index: z.number().int() });

type Schema<T> = Parameters<typeof parseOrThrow<T>>[0];

const connectTimeoutMs = 1_000;
/** Streams have no end; only their beginning is awaited. */
const headTimeoutMs = 5_000;

export function connectCoordinators({ identity, certificates }: Enrolled): Promise<CoordinatorLink> {
  const connect = (address: string) =>
    createClient({
      addresses: [address],
      trust: { ca: certificates.clusterCa },
      identity: () => ({ certificate: certificates.certificate, key: certificates.key }),
      checkPeer: peerOf(["coordinator"], identity.clusterId),
      connectTimeoutMs,
    });
  return Promise.resolve(linkOver(identity.agentAddresses, connect));
}

const instance = (uid: string) => `/agent/v1/instances/${encodeURIComponent(uid)}`;

function linkOver(known: readonly string[], connect: (address: string) => Client): CoordinatorLink {
  let clients = new Map(known.map((address) => [address, connect(address)]));
  // Not always the first: after a power cut not all nodes shall ask the same one.
  let current = known[Math.floor(Math.random() * known.length)]!;

  async function request(of: ClientRequest, address = current): Promise<Response> {
    const client = clients.get(address)!;
    const response = await client.request({ timeoutMs: headTimeoutMs, ...of });
    if (response.ok) return response;
    throw DvsError.fromBody(await response.json().catch(() => null));
  }

  async function post<T>(
    path: string,
    body: unknown,
    schema: Schema<T>,
    signal: AbortSignal,
    idempotent = true,
  ): Promise<T> {
    const response = await request(posting(path, body, signal, idempotent));
    return parseOrThrow(schema, await response.json(), `answer to ${path}`);
  }

  /** Asks any coordinator, and others beside one that is silent: what is asked so may be asked twice. */
  function postAny<T>(
    part: string,
    of: StateOf,
    schema: Schema<T>,
    signal: AbortSignal,
    { besideMs = stateBesideMs, idempotent = true } = {},
  ): Promise<T> {
    const path = `${instance(of.uid)}/state${part}`;
    const addresses = [current, ...[...clients.keys()].filter((address) => address !== current)];
    const ask = async (address: string, stop: AbortSignal) => {
      if (!clients.has(address)) throw new DvsError("UNAVAILABLE", `${address} is no coordinator any more.`);
      const asked = { ...posting(path, of, stop, idempotent), timeoutMs: stateAttemptMs };
      const response = await request(asked, address);
      return parseOrThrow(schema, await response.json(), `answer to ${path}`);
    };
    return askAny(addresses, ask, { signal, besideMs });
  }

  return {
    async *messages(signal) {
      const response = await request({ method: "GET", path: "/agent/v1/desired", signal });
      // A newer coordinator may send messages that this version does not know.
      for await (const line of parseNdjson(response.body, (value) => ToAgent.safeParse(value))) {
        if (line.success) yield line.data;
      }
    },
    heartbeat: (heartbeat, signal) => post("/agent/v1/heartbeat", heartbeat, HeartbeatAnswer, signal),
    async renewNodeCertificate(csr, signal) {
      return (await post("/agent/v1/certificate", { csr }, CertificateAnswer, signal)).certificate;
    },
    containerCertificate: (uid, csr, signal) =>
      post(`${instance(uid)}/certificate`, { csr }, ContainerCertificateAnswer, signal),
    async proposeRecord(uid, proposal, signal) {
      // Sent again it would be ordered once, but that is for the kernel to decide: it may not want it any more.
      const path = `${instance(uid)}/records`;
      return (await post(path, proposal, RecordAnswer, signal, false)).index;
    },
    async followRecords(uid, follow, signal) {
      await post(`${instance(uid)}/follow`, follow, z.object({}), signal);
    },
    async containerExited(uid, incarnation, signal) {
      await post(`${instance(uid)}/exits`, { incarnation }, z.object({}), signal);
    },
    state: {
      read: (of, signal) => postAny("", of, ReplicaSet, signal),
      async register(registration, signal) {
        // One that is late must not replace what was registered after it.
        await postAny("/replica", registration, z.object({}), signal, { besideMs: Infinity });
      },
      // By its id it is made once, whoever is asked; it counts until it is read back. Not `idempotent`: whether it may
      // have been made must be told.
      change: (proposal, signal) => postAny("/change", proposal, ChangeAnswer, signal, { idempotent: false }),
      async exit(exit, signal) {
        await postAny("/exit", exit, z.object({}), signal);
      },
      gone: async (of, signal) => (await postAny("/gone", of, StateGone, signal)).gone,
    },
    images: {
      async manifest(digest, signal) {
        const path = `/agent/v1/images/${encodeURIComponent(digest)}/manifest`;
        const response = await request({ method: "GET", path, ...(signal ? { signal } : {}) });
        return new Uint8Array(await response.arrayBuffer());
      },
      async fetch(digests, signal) {
        const response = await request({
          method: "POST",
          path: "/agent/v1/blobs/fetch",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ digests }),
          idempotent: true,
          ...(signal ? { signal } : {}),
        });
        if (!response.body) throw new DvsError("UNAVAILABLE", "The coordinator sent no blobs.");
        return response.body;
      },
    },
    async sendStream(id, body, signal) {
      const path = `/agent/v1/streams/${encodeURIComponent(id)}`;
      // The answer comes when the stream has ended, which may be in days.
      await request({ method: "POST", path, body, signal, timeoutMs: 2 ** 31 - 1 });
    },
    async fetchStream(id, signal) {
      const path = `/agent/v1/streams/${encodeURIComponent(id)}`;
      const response = await request({ method: "GET", path, signal });
      if (!response.body) throw new DvsError("UNAVAILABLE", "The coordinator sent no bytes.");
      return response.body;
    },
    address: () => current,
    rotate(from) {
      if (from !== current) return;
      const addresses = [...clients.keys()];
      current = addresses[(addresses.indexOf(current) + 1) % addresses.length]!;
    },
    setAddresses(addresses) {
      const before = clients;
      clients = new Map(addresses.map((address) => [address, before.get(address) ?? connect(address)]));
      if (!clients.has(current)) current = addresses[0]!;
      for (const [address, client] of before) if (!clients.has(address)) client.close();
    },
    close() {
      for (const client of clients.values()) client.close();
    },
  };
}

function posting(path: string, body: unknown, signal: AbortSignal, idempotent: boolean): ClientRequest {
  return {
    method: "POST",
    path,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
    idempotent,
  };
}
