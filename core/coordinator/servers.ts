/** The coordinator's two ports, the API's and the agents', with one certificate that is renewed while they serve. */
import { nodeCertificateDays, requestBodyBytesMax } from "../limits.ts";
import { serveHttp } from "../platform/http.ts";
import { serveMutualTls } from "../transport/agent-server.ts";
import type { TlsIdentity } from "../transport/dial.ts";
import { peerOf } from "../transport/peer.ts";
import { startRenewal } from "../transport/renewal.ts";
import { issueCertificate } from "../trust/authority.ts";
import { coordinatorUri, type Identity } from "../trust/identity.ts";
import { createKeyAndCsr } from "../trust/key.ts";
import type { Cluster } from "./bootstrap.ts";
import { alternativeNames } from "./options.ts";
import type { Log } from "./log.ts";

/** Far more than one upload of a push; JSON bodies have a smaller limit of their own. */
const uploadBytesMax = 64 * 1024 * requestBodyBytesMax;
/** Streams send a line each second, and an upload that stalls is given up before. */
const apiIdleSeconds = 120;

export interface Listen {
  host: string;
  port: number;
}

export interface ServersOptions {
  id: string;
  cluster: Cluster;
  api: Listen;
  agents: Listen;
  /** Host names and addresses that go into the certificate. */
  hosts: string[];
  certificateDays?: number;
  fetchApi: (request: Request) => Response | Promise<Response>;
  fetchAgents: (request: Request, identity: Identity) => Response | Promise<Response>;
  log: Log;
}

export interface Servers {
  apiPort: number;
  agentPort: number;
  /** As it is now. */
  identity: () => TlsIdentity;
  /** Accepts nothing new, and lets what is under way end for `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

/** Rejects with CONFLICT when one of the ports is taken; nothing listens then. */
export async function startServers(options: ServersOptions): Promise<Servers> {
  const { id, cluster, log } = options;
  const onError = (what: string) => (e: unknown) =>
    log("error", `${what}: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`);
  let identity = await certify(options);
  const api = await serveHttp({
    listen: options.api,
    tls: identity,
    fetch: options.fetchApi,
    maxBodyBytes: uploadBytesMax,
    idleTimeoutSeconds: apiIdleSeconds,
    onError: onError("API"),
  });
  const agents = await serveMutualTls({
    ...options.agents,
    ...identity,
    ca: cluster.cluster.certificate,
    check: peerOf(["node", "coordinator"], cluster.id),
    fetch: options.fetchAgents,
    onError: onError("agents' port"),
  }).catch(async (e: unknown) => {
    await api.stop(0);
    throw e;
  });
  const renewal = startRenewal({
    identity,
    sign: (csr) => sign(options, csr),
    install(renewed) {
      identity = renewed;
      api.reload?.(renewed);
      agents.setCertificate(renewed);
      log("info", `renewed the certificate of ${id}`);
    },
    onError: (e) => log("error", `cannot renew the certificate of ${id}: ${e.message}`),
  });
  return {
    apiPort: api.port,
    agentPort: agents.port,
    identity: () => identity,
    async stop(graceMs) {
      renewal.stop();
      await Promise.all([api.stop(graceMs), agents.close(graceMs)]);
    },
  };
}

async function certify(options: ServersOptions): Promise<TlsIdentity> {
  const { key, csr } = await createKeyAndCsr(options.id);
  return { key, certificate: await sign(options, csr) };
}

function sign({ id, cluster, hosts, certificateDays }: ServersOptions, csr: string): Promise<string> {
  return issueCertificate(cluster.cluster, {
    csr,
    uri: coordinatorUri(cluster.id, id),
    ...alternativeNames([...hosts, "localhost", "127.0.0.1"]),
    days: certificateDays ?? nodeCertificateDays,
  });
}
