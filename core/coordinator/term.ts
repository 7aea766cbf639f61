/**
 * One term of leadership: the controller runs and the routes answer from `begin` until the leadership is lost, the
 * controller fails or the coordinator ends. Nothing of a term is kept in the next one but what is in the store.
 */
import { Controller } from "../control/controller.ts";
import type { BlobStore } from "../image/blob-store.ts";
import type { Store } from "../store/store.ts";
import type { VosRegistry } from "../vos.ts";
import { agentRoutes } from "./agent-routes.ts";
import { apiApp } from "./api/app.ts";
import type { Cluster } from "./bootstrap.ts";
import type { Coordinator } from "./context.ts";
import { Driver } from "./driver.ts";
import type { HaStore } from "./ha/ha-store.ts";
import { keepHouse, type HousekeepingTiming } from "./housekeeping.ts";
import type { ImageCare } from "./image-care.ts";
import type { ImageCopies } from "./image-copies.ts";
import { KernelLogs } from "./kernel/kernel-logs.ts";
import type { Leadership } from "./leadership.ts";
import type { Log } from "./log.ts";
import type { Members } from "./members.ts";
import { PeerWatch } from "./peer-watch.ts";
import type { Peers } from "./peers.ts";
import { randomId } from "./random.ts";
import type { Acting } from "./reception.ts";
import { renewConfigurations } from "./replicas/renew-configurations.ts";
import { Sessions } from "./sessions.ts";

export interface TermOptions {
  id: string;
  version: string;
  cluster: Cluster;
  store: Store;
  registry: VosRegistry;
  blobs: BlobStore;
  images: ImageCare;
  copies: ImageCopies;
  members: Members;
  peers: Peers;
  leadership: Leadership;
  ha: HaStore | null;
  replaceAfterMs?: number;
  addresses: () => { api: string; agents: string };
  timing?: Partial<HousekeepingTiming>;
  /** Ends the term. */
  signal: AbortSignal;
  /** It cannot go on: another coordinator has taken over, or the controller failed (a defect). */
  onEnd: (reason: string, defect: boolean) => void;
  log: Log;
}

export interface Term {
  acting: Acting;
  /** Streams end with the signal; this ends the rest, and resolves when nothing is under way any more. */
  end(): Promise<void>;
}

/** Null when the signal aborted before the controller knew the whole state. */
export async function beginTerm(options: TermOptions): Promise<Term | null> {
  const { id, cluster, store, leadership, signal, log, images, copies, members } = options;
  const startedMs = performance.now();
  const sessions = new Sessions();
  const controller = new Controller({
    clusterId: cluster.id,
    holder: id,
    random: randomId,
    limits: options.replaceAfterMs === undefined ? {} : { replaceAfterMs: options.replaceAfterMs },
  });
  const generation = await store.generation();
  const driver = new Driver({
    store,
    storeGeneration: generation,
    controller,
    leader: leadership.compare,
    mayOrder: leadership.isFresh,
    onDesired: (node, desired) => sessions.desired(node, desired),
    onReplicas: (node, uid, replicas) => sessions.replicas(node, uid, replicas),
    onNodeRemoved: (node) => sessions.removed(node),
    onEnd: options.onEnd,
    log,
  });
  const kernelLogs = new KernelLogs({
    store,
    leader: leadership.compare,
    generation,
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
      if (!signal.aborted) log("warn", `records of instance ${event.name} go later: ${String(e)}`);
    };
    kernelLogs.remove(event.tenant, event.uid).catch(failed);
  });
  const stopDriver = () => driver.close();
  signal.addEventListener("abort", stopDriver, { once: true });
  if (signal.aborted) stopDriver();
  await driver.start();
  if (signal.aborted) return null;

  const peers = new PeerWatch(options.peers);
  const coordinator: Coordinator = {
    id,
    version: options.version,
    startedMs,
    cluster,
    store,
    blobs: options.blobs,
    registry: options.registry,
    controller,
    driver,
    sessions,
    kernelLogs,
    members,
    peers,
    copies,
    ha: options.ha,
    signal,
    addresses: options.addresses,
    warnings: () => images.warnings(),
    log,
  };
  const watching = peers.follow(signal);
  const renewing = renewConfigurations({
    store,
    storeGeneration: generation,
    views: () => controller.instanceViews(),
    signal,
    log,
  });
  const house = keepHouse({
    store,
    images,
    kernelLogs,
    signal,
    log,
    ...(options.timing ? { timing: options.timing } : {}),
  });
  return {
    acting: { fetchApi: apiApp(coordinator), fetchAgents: agentRoutes(coordinator) },
    async end() {
      driver.close();
      sessions.close();
      await Promise.all([house, watching, renewing]);
    },
  };
}
