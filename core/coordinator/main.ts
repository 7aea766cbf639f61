/**
 * A coordinator: opens the store, waits until it leads, runs the controller, serves the API and the agents' port.
 * It ends when the signal aborts (0) or when it may no longer act (1): its supervisor starts it again, as a standby.
 *
 * While it waits it does not listen: whoever tries it goes on to the next coordinator at once.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DvsError, parseOrThrow } from "../errors.ts";
import { Controller } from "../control/controller.ts";
import { BlobStore } from "../image/blob-store.ts";
import { lockDirectory } from "../lock.ts";
import { openStore } from "../store/open.ts";
import { toDvsError } from "../store/errors.ts";
import type { Store } from "../store/store.ts";
import { formatAddress } from "../transport/address.ts";
import type { VosRegistry } from "../vos.ts";
import { agentRoutes } from "./agent-routes.ts";
import { apiApp } from "./api/app.ts";
import {
  openAdminToken,
  openCluster,
  openIdentity,
  saveIdentity,
  type Cluster,
  type CoordinatorIdentity,
} from "./bootstrap.ts";
import type { Coordinator } from "./context.ts";
import { Driver } from "./driver.ts";
import { KernelLogs } from "./kernel/kernel-logs.ts";
import { keepHouse, type HousekeepingTiming } from "./housekeeping.ts";
import { ImageCare } from "./image-care.ts";
import { campaign, type Leadership } from "./leadership.ts";
import { registerMember } from "./members.ts";
import { CoordinatorOptions, isWildcard } from "./options.ts";
import { randomId } from "./random.ts";
import { startServers, type Listen } from "./servers.ts";
import { Sessions } from "./sessions.ts";
import type { Log } from "./log.ts";

/** What is under way when it is told to end gets this long; streams end at once. */
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
  log: Log;
  /** By default what the options name. */
  openStore?: () => Promise<Store>;
  timing?: Partial<HousekeepingTiming> & { certificateDays?: number };
}

/** Rejects with a DvsError when it cannot start: INVALID, CONFLICT (data directory, store or port in use), UNAVAILABLE. */
export async function runCoordinator(run: CoordinatorRun): Promise<number> {
  const options = parseOrThrow(CoordinatorOptions, run.options, "coordinator options");
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
  // Its identity, token and blobs are here, wherever the store is.
  const lock = lockDirectory(options.dataDir, "coordinator");
  try {
    const open =
      run.openStore ?? (() => openStore(options.store ?? `sqlite:${join(options.dataDir, "store.db")}`));
    const store = await open();
    try {
      return await standAndAct(run, options, store);
    } catch (e) {
      throw toDvsError(e);
    } finally {
      await store.close();
    }
  } finally {
    lock.release();
  }
}

async function standAndAct(run: CoordinatorRun, options: Parsed, store: Store): Promise<number> {
  const identity = await openIdentity(options.dataDir);
  const place = placeOf(run, options, identity);
  const ending = new AbortController();
  const end = AbortSignal.any([run.signal, ending.signal]);
  let code = 0;
  const cease = (reason: string) => {
    if (end.aborted) return;
    run.log("error", `no longer the acting coordinator: ${reason}`);
    code = 1;
    ending.abort();
  };
  let leadership: Leadership | null = null;
  try {
    const cluster = await openCluster(store, identity.clusterId);
    identity.clusterId = cluster.id;
    await saveIdentity(options.dataDir, identity);
    if (place.api.port !== 0 && place.agents.port !== 0) {
      await registerMember(store, identity.id, addressesOf(place.host, place.api.port, place.agents.port));
    }
    leadership = await campaign({
      store,
      holder: identity.id,
      address: place.host,
      signal: end,
      onLost: cease,
      onTrouble: (message) => run.log("warn", `the store does not answer: ${message}`),
    });
    if (leadership) await act({ run, options, store, cluster, identity, place, leadership, end, cease });
    return code;
  } finally {
    ending.abort();
    await leadership?.resign();
  }
}

type Parsed = ReturnType<typeof CoordinatorOptions.parse>;

interface Acting {
  run: CoordinatorRun;
  options: Parsed;
  store: Store;
  cluster: Cluster;
  identity: CoordinatorIdentity;
  place: Place;
  leadership: Leadership;
  end: AbortSignal;
  cease: (reason: string) => void;
}

/** Resolves when `end` has aborted and everything is put away. */
async function act(acting: Acting): Promise<void> {
  const { run, options, store, cluster, identity, place, leadership, end, cease } = acting;
  const { log } = run;
  const blobs = await BlobStore.open(join(options.dataDir, "blobs"));
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
    mayOrder: leadership.isFresh,
    onDesired: (node, desired) => sessions.desired(node, desired),
    onNodeRemoved: (node) => sessions.removed(node),
    onEnd: cease,
    log,
  });
  const kernelLogs = new KernelLogs({
    store,
    leader: leadership.compare,
    instanceOf: (uid) => controller.instanceOf(uid),
    isPlaced: (uid, node) =>
      controller.desiredFor(node)?.containers.some((container) => container.uid === uid) ?? null,
    onNews: (node, uid) => sessions.news(node, uid),
    log,
  });
  driver.kernels.subscribe((batch) => kernelLogs.apply(batch));
  driver.instances.subscribe((event) => {
    if (event.type !== "removed") return;
    const failed = (e: unknown) => {
      if (!end.aborted) log("warn", `records of instance ${event.name} go later: ${String(e)}`);
    };
    kernelLogs.remove(event.tenant, event.uid).catch(failed);
  });
  const stopDriver = () => driver.close();
  end.addEventListener("abort", stopDriver, { once: true });
  if (end.aborted) stopDriver();
  await driver.start();
  if (end.aborted) return;

  const images = new ImageCare({ store, blobs, log });
  let addresses = addressesOf(place.host, place.api.port, place.agents.port);
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
    kernelLogs,
    signal: end,
    addresses: () => addresses,
    warnings: () => images.warnings(),
    log,
  };
  const adminToken = await openAdminToken(store, options.dataDir, cluster);
  const servers = await startServers({
    id: identity.id,
    cluster,
    api: place.api,
    agents: place.agents,
    hosts: [place.api.host, place.host],
    ...(run.timing?.certificateDays === undefined ? {} : { certificateDays: run.timing.certificateDays }),
    fetchApi: apiApp(coordinator),
    fetchAgents: agentRoutes(coordinator),
    log,
  });
  const house = keepHouse({
    store,
    images,
    kernelLogs,
    signal: end,
    log,
    ...(run.timing ? { timing: run.timing } : {}),
  });
  try {
    const { apiPort, agentPort } = servers;
    addresses = addressesOf(place.host, apiPort, agentPort);
    await saveIdentity(options.dataDir, { ...identity, apiPort, agentPort });
    await registerMember(store, identity.id, addresses);
    run.onReady({
      clusterId: cluster.id,
      apiAddress: addresses.api,
      agentAddress: addresses.agents,
      adminToken,
      ca: cluster.cluster.certificate,
      caFingerprint: cluster.caFingerprint,
    });
    await aborted(end);
  } finally {
    driver.close();
    sessions.close();
    await servers.stop(drainMs);
    if (end.aborted) await house;
  }
}

interface Place {
  /** Under which others reach it. */
  host: string;
  api: Listen;
  agents: Listen;
}

/** Where it listens: ports that it has chosen once stay, so that agents find it again. */
function placeOf(run: CoordinatorRun, options: Parsed, identity: CoordinatorIdentity): Place {
  const { listen, agentListen } = options;
  if (isWildcard(listen.host) && options.advertise === undefined) {
    run.log(
      "warn",
      `${listen.host} says nothing about how other machines reach this coordinator, so they are told 127.0.0.1: give --advertise`,
    );
  }
  const host = options.advertise ?? (isWildcard(listen.host) ? "127.0.0.1" : listen.host);
  if (agentListen === undefined && listen.port === 65_535) {
    throw new DvsError(
      "INVALID",
      "Cannot listen: there is no port after 65535 for agents. Give --agent-listen.",
    );
  }
  const agents = agentListen ?? { host: listen.host, port: listen.port === 0 ? 0 : listen.port + 1 };
  return {
    host,
    api: { host: listen.host, port: listen.port || identity.apiPort },
    agents: { host: agents.host, port: agents.port || identity.agentPort },
  };
}

function addressesOf(host: string, apiPort: number, agentPort: number): { api: string; agents: string } {
  return {
    api: formatAddress({ host, port: apiPort }),
    agents: formatAddress({ host, port: agentPort }),
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
