/**
 * A coordinator: opens the store, waits until it leads, runs the controller, serves the API and the agents' port.
 * It ends when the signal aborts (0) or when another coordinator took over (1): its supervisor starts it again,
 * as a standby.
 */
import { join } from "node:path";
import { parseOrThrow } from "../errors.ts";
import { Controller } from "../control/controller.ts";
import { BlobStore } from "../image/blob-store.ts";
import { requestBodyBytesMax } from "../limits.ts";
import { serveHttp } from "../platform/http.ts";
import { openStore } from "../store/open.ts";
import { serveMutualTls } from "../transport/agent-server.ts";
import { peerOf } from "../transport/peer.ts";
import { renewAt } from "../trust/identity.ts";
import { fingerprint } from "../trust/authority.ts";
import type { VosRegistry } from "../vos.ts";
import { agentRoutes } from "./agent-routes.ts";
import { apiApp } from "./api/app.ts";
import { certify, openAdminToken, openCluster, openIdentity, saveIdentity } from "./bootstrap.ts";
import type { Coordinator } from "./context.ts";
import { Driver } from "./driver.ts";
import { startHousekeeping } from "./housekeeping.ts";
import { campaign } from "./leadership.ts";
import { CoordinatorOptions, isWildcard } from "./options.ts";
import { randomId } from "./random.ts";
import { Sessions } from "./sessions.ts";
import { lockDirectory } from "../lock.ts";

/** Far more than a site's blobs in one upload; what is larger is sent in several. */
const uploadBytesMax = 64 * 1024 * requestBodyBytesMax;
const drainMs = 2_000;

export interface CoordinatorReady {
  clusterId: string;
  /** `host:port` of the API and of the agents' port. */
  apiAddress: string;
  agentAddress: string;
  adminToken: string;
  ca: string;
  caFingerprint: string;
}

export interface CoordinatorRun {
  options: CoordinatorOptions;
  registry: VosRegistry;
  version: string;
  signal: AbortSignal;
  onReady(ready: CoordinatorReady): void;
  log(level: "info" | "warn" | "error", message: string): void;
}

export async function runCoordinator(run: CoordinatorRun): Promise<number> {
  const options = parseOrThrow(CoordinatorOptions, run.options, "coordinator options");
  const identity = openIdentity(options.dataDir);
  const unlock = lockDirectory(options.dataDir, "coordinator");
  const store = await openStore(options.store ?? `sqlite:${join(options.dataDir, "store.db")}`);
  const ending = new AbortController();
  const end = AbortSignal.any([run.signal, ending.signal]);
  const exit = { code: 0 };
  const endWith = (code: number) => {
    exit.code = code;
    ending.abort();
  };

  try {
    const cluster = await openCluster(store);
    const blobs = await BlobStore.open(join(options.dataDir, "blobs"));
    const host = options.advertise ?? (isWildcard(options.listen.host) ? "127.0.0.1" : options.listen.host);
    const agentListen = options.agentListen ?? {
      host: options.listen.host,
      port: options.listen.port === 0 ? 0 : options.listen.port + 1,
    };
    const leadership = await campaign({
      store,
      holder: identity.id,
      address: host,
      signal: end,
      onLost: (reason) => {
        run.log("error", `no longer the acting coordinator: ${reason}`);
        endWith(1);
      },
    });
    if (!leadership) return exit.code;

    const sessions = new Sessions();
    const controller = new Controller({
      clusterId: cluster.id,
      holder: identity.id,
      random: randomId,
      limits: options.replaceAfterMs === undefined ? {} : { replaceAfterMs: options.replaceAfterMs },
    });
    const driver = new Driver({
      store,
      storeGeneration: (await store.status()).generation,
      controller,
      leader: leadership.compare,
      onDesired: (node, desired) => sessions.desired(node, desired),
      onNodeRemoved: (node) => sessions.removed(node),
      onDeposed: () => {
        run.log("error", "no longer the acting coordinator: another one has taken over");
        endWith(1);
      },
      log: run.log,
    });
    const coordinator: Coordinator = {
      id: identity.id,
      version: run.version,
      startedMs: performance.now(),
      cluster,
      store,
      blobs,
      registry: run.registry,
      controller,
      driver,
      sessions,
      agentAddresses: () => [`${host}:${agents.port}`],
      apiAddress: () => `${host}:${api.port}`,
    };
    await driver.start();
    startHousekeeping({ store, blobs, signal: end, log: run.log });

    let tls = await certify(cluster, identity.id, [options.listen.host, host]);
    const app = apiApp(coordinator);
    const api = await serveHttp({
      listen: { host: options.listen.host, port: options.listen.port || identity.apiPort },
      tls,
      fetch: (request) => app.fetch(request),
      maxBodyBytes: uploadBytesMax,
      onError: (e) => run.log("error", `API: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`),
    });
    const agents = await serveMutualTls({
      host: agentListen.host,
      port: agentListen.port || identity.agentPort,
      ...tls,
      ca: cluster.cluster.certificate,
      check: peerOf(["node"], cluster.id),
      fetch: agentRoutes(coordinator),
    });
    saveIdentity(options.dataDir, { ...identity, apiPort: api.port, agentPort: agents.port });
    const renewal = setInterval(() => {
      if (Date.now() < renewAt(tls.certificate)) return;
      certify(cluster, identity.id, [options.listen.host, host])
        .then((renewed) => {
          tls = renewed;
          api.reload?.(tls);
          agents.setCertificate(tls);
          run.log("info", "renewed the coordinator's certificate");
        })
        .catch((e: unknown) => run.log("error", `cannot renew the certificate: ${String(e)}`));
    }, 60_000);

    run.onReady({
      clusterId: cluster.id,
      apiAddress: coordinator.apiAddress(),
      agentAddress: `${host}:${agents.port}`,
      adminToken: await openAdminToken(store, options.dataDir, cluster),
      ca: cluster.cluster.certificate,
      caFingerprint: fingerprint(cluster.cluster.certificate),
    });

    await new Promise<void>((resolve) => {
      if (end.aborted) resolve();
      else end.addEventListener("abort", () => resolve(), { once: true });
    });
    clearInterval(renewal);
    driver.close();
    sessions.close();
    await Promise.all([api.stop(drainMs), agents.close()]);
    await leadership.resign();
    return exit.code;
  } finally {
    ending.abort();
    await store.close();
    unlock();
  }
}
