/** What the coordinator's routes work on, made once by `main.ts`. */
import type { Controller } from "../control/controller.ts";
import type { BlobStore } from "../image/blob-store.ts";
import type { Role } from "../records.ts";
import type { Store } from "../store/store.ts";
import type { VosRegistry } from "../vos.ts";
import type { Cluster } from "./bootstrap.ts";
import type { Driver } from "./driver.ts";
import type { HaStore } from "./ha/ha-store.ts";
import type { ImageCopies } from "./image-copies.ts";
import type { KernelLogs } from "./kernel/kernel-logs.ts";
import type { Members } from "./members.ts";
import type { PeerWatch } from "./peer-watch.ts";
import type { Sessions } from "./sessions.ts";
import type { Log } from "./log.ts";

export interface Coordinator {
  id: string;
  version: string;
  startedMs: number;
  cluster: Cluster;
  store: Store;
  blobs: BlobStore;
  registry: VosRegistry;
  controller: Controller;
  driver: Driver;
  sessions: Sessions;
  kernelLogs: KernelLogs;
  members: Members;
  /** How the other coordinators are. */
  peers: PeerWatch;
  copies: ImageCopies;
  /** Null where the store is not kept by the coordinators themselves. */
  ha: HaStore | null;
  /** Aborted when the coordinator ends or acts no longer: streams end with it. */
  signal: AbortSignal;
  /** `host:port` of the API, and of the agents' port. */
  addresses(): { api: string; agents: string };
  /** About images, for people. */
  warnings(): string[];
  log: Log;
}

/** Set by the authentication middleware of the API. */
export interface ApiEnv {
  Variables: { role: Role; tokenId: string };
}
