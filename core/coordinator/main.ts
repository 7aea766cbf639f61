/**
 * A coordinator: opens the store, listens, and stands by or acts, in turns, as leadership comes and goes. Ends when
 * the signal aborts (0) or when its controller failed (1), a defect: the next host process begins with what is stored.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseOrThrow } from "../errors.ts";
import { BlobStore } from "../image/blob-store.ts";
import { lockDirectory } from "../lock.ts";
import { bootId } from "../platform/uptime.ts";
import { toDvsError } from "../store/errors.ts";
import { StoreError, type Store } from "../store/store.ts";
import { formatAddress } from "../transport/address.ts";
import type { VosRegistry } from "../vos.ts";
import { pause } from "./pause.ts";
import {
  openAdminToken,
  openCluster,
  openIdentity,
  saveIdentity,
  type CoordinatorIdentity,
} from "./bootstrap.ts";
import type { HousekeepingTiming } from "./housekeeping.ts";
import { openHaStore, type HaStore } from "./ha/ha-store.ts";
import { ImageCare } from "./image-care.ts";
import { ImageCopies } from "./image-copies.ts";
import type { Log } from "./log.ts";
import { Members, registerMember } from "./members.ts";
import { CoordinatorOptions } from "./options.ts";
import { haOptionsOf, placeOf, type Place } from "./place.ts";
import { peerRoutes } from "./peer-routes.ts";
import { Peers } from "./peers.ts";
import { Reception } from "./reception.ts";
import { isStateCall, stateRoutes } from "./replicas/state-routes.ts";
import { openNamedStore } from "./store-access.ts";
import { startServers } from "./servers.ts";
import { takeTurns } from "./turns.ts";

/** What is under way when it is told to end gets this long; streams end at once. */
const drainMs = 2_000;
const storeRetryMs = 500;

export interface CoordinatorReady {
  clusterId: string;
  /** `host:port` of the API and of the agents' port. */
  apiAddress: string;
  agentAddress: string;
  adminToken: string;
  ca: string;
  caFingerprint: string;
  /** `host:port` of every coordinator's API that is known now, this one first. */
  addresses: string[];
  /** False: it stands by, and passes on what it is asked. */
  acting: boolean;
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
    const identity = await openIdentity(options.dataDir);
    const place = placeOf(options, identity, run.log);
    const ha = options.ha
      ? await openHaStore(await haOptionsOf({ options, identity, place, signal: run.signal, log: run.log }))
      : null;
    if (options.ha && !ha) return 0;
    try {
      const store = ha?.store ?? (await (run.openStore ?? (() => openNamedStore(options)))());
      try {
        return await serve({ run, options, identity, place, store, ha });
      } catch (e) {
        throw toDvsError(e);
      } finally {
        await store.close();
      }
    } finally {
      await ha?.close();
    }
  } finally {
    lock.release();
  }
}

interface Serving {
  run: CoordinatorRun;
  options: Parsed;
  identity: CoordinatorIdentity;
  place: Place;
  store: Store;
  ha: HaStore | null;
}

/** Listens at once, and acts whenever it leads; between its terms it stands by. */
async function serve({ run, options, identity, place, store, ha }: Serving): Promise<number> {
  const { log } = run;
  const ending = new AbortController();
  const end = AbortSignal.any([run.signal, ending.signal]);
  const cluster = await openCluster(store, identity.clusterId);
  identity.clusterId = cluster.id;
  await saveIdentity(options.dataDir, identity);
  const blobs = await BlobStore.open(join(options.dataDir, "blobs"));
  const members = new Members(store, identity.id);
  const reception = new Reception({
    id: identity.id,
    clusterId: cluster.id,
    ca: cluster.cluster.certificate,
    members,
  });
  const stateApp = stateRoutes({ clusterId: cluster.id, store, log });
  let peerApp: ReturnType<typeof peerRoutes> | undefined;
  const servers = await startServers({
    id: identity.id,
    cluster,
    api: place.api,
    agents: place.agents,
    hosts: [place.api.host, place.host],
    ...(run.timing?.certificateDays === undefined ? {} : { certificateDays: run.timing.certificateDays }),
    fetchApi: reception.fetchApi,
    fetchAgents: (request, who) => {
      if (who.kind === "coordinator" && peerApp) return peerApp(request, who);
      return isStateCall(request) ? stateApp(request, who) : reception.fetchAgents(request, who);
    },
    log,
  });
  const addresses = addressesOf(place.host, servers.apiPort, servers.agentPort);
  const peers = new Peers({
    clusterId: cluster.id,
    ca: cluster.cluster.certificate,
    identity: servers.identity,
    members,
  });
  const copies = new ImageCopies({ store, blobs, peers, log });
  const images = new ImageCare({ store, blobs, log, onLost: () => copies.doubt() });
  peerApp = peerRoutes({
    clusterId: cluster.id,
    members,
    blobs,
    copies,
    health: () => ({
      id: identity.id,
      version: run.version,
      acting: reception.acts,
      imagesLacking: copies.lacking,
    }),
    log,
  });
  const chores: Promise<void>[] = [];
  let failure: unknown;
  /** Once, as soon as the store lets it. */
  const announce = once(async () => {
    const adminToken = await untilStored(() => openAdminToken(store, options.dataDir, cluster), end, log);
    if (adminToken === null) return;
    run.onReady({
      clusterId: cluster.id,
      apiAddress: addresses.api,
      agentAddress: addresses.agents,
      adminToken,
      ca: cluster.cluster.certificate,
      caFingerprint: cluster.caFingerprint,
      addresses: members.addresses("api"),
      acting: reception.acts,
    });
  });
  try {
    await saveIdentity(options.dataDir, {
      ...identity,
      apiPort: servers.apiPort,
      agentPort: servers.agentPort,
    });
    await registerMember(store, identity.id, {
      ...addresses,
      machine: bootId(),
      ...(ha ? { etcd: ha.etcd } : {}),
    });
    await members.refresh();
    chores.push(members.follow(end), copies.follow(end));
    const { defect } = await takeTurns({
      id: identity.id,
      version: run.version,
      cluster,
      store,
      registry: run.registry,
      blobs,
      images,
      copies,
      members,
      peers,
      reception,
      ha,
      ...(options.replaceAfterMs === undefined ? {} : { replaceAfterMs: options.replaceAfterMs }),
      addresses: () => addresses,
      ...(run.timing ? { timing: run.timing } : {}),
      signal: end,
      onAnswering() {
        announce().catch((e: unknown) => {
          failure = e;
          ending.abort();
        });
      },
      log,
    });
    if (failure !== undefined) throw failure;
    // The next host process begins with what is stored.
    return defect ? 1 : 0;
  } finally {
    ending.abort();
    await servers.stop(drainMs);
    reception.close();
    peers.close();
    await Promise.all(chores);
  }
}

type Parsed = ReturnType<typeof CoordinatorOptions.parse>;

function addressesOf(host: string, apiPort: number, agentPort: number): { api: string; agents: string } {
  return {
    api: formatAddress({ host, port: apiPort }),
    agents: formatAddress({ host, port: agentPort }),
  };
}

function once(act: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= act());
}

/** What the store answers, however long it takes; null when the signal aborted first. */
async function untilStored<T>(act: () => Promise<T>, signal: AbortSignal, log: Log): Promise<T | null> {
  while (!signal.aborted) {
    try {
      return await act();
    } catch (e) {
      if (!(e instanceof StoreError)) throw e;
      log("warn", `not ready yet: ${e.message}`);
      await pause(storeRetryMs, signal);
    }
  }
  return null;
}
