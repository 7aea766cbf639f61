/**
 * What the control store holds: one JSON document per key. These are the cluster's desired state and the few
 * facts that must survive a restart; what nodes merely report (containers ready, ports open) is never stored.
 */
import { z } from "zod";
import { publishedPortsMax, replicaReplaceAfterMsMax, replicaReplaceAfterMsMin } from "./limits.ts";
import { Digest, Labels, Name, Port } from "./names.ts";
import {
  ChangeId,
  ConfigurationSchema,
  DiskId,
  ExitCertificateSchema,
  ReplicaIncarnation,
  ReplicaPolicySchema,
} from "./state/replica-set.ts";

export const stateVersion = 1;

/** `/c/meta`: identity of the cluster. */
export const ClusterRecord = z.object({
  stateVersion: z.literal(stateVersion),
  clusterId: z.string(),
  createdAt: z.string(),
});
export type ClusterRecord = z.infer<typeof ClusterRecord>;

/** `/c/leader`: the coordinator that acts. Rivals judge it stale by a `beat` that stays the same on their own clocks. */
export const LeaderRecord = z.object({ holder: z.string(), address: z.string(), beat: z.number().int() });
export type LeaderRecord = z.infer<typeof LeaderRecord>;

/** `/n/<id>`: a machine that joined. */
export const NodeRecord = z.object({
  id: z.string(),
  name: Name,
  /** Where other nodes reach this one, without a port. */
  address: z.string(),
  labels: Labels,
  /** False while the node drains or leaves: nothing new is placed on it. */
  schedulable: z.boolean(),
  /** Set by `node leave`: its containers are placed elsewhere, then the record goes. */
  leaving: z.boolean().default(false),
  joinedAt: z.string(),
  /** How many containers fit, 0 = no limit. */
  containersMax: z.number().int().min(0).default(0),
});
export type NodeRecord = z.infer<typeof NodeRecord>;

/** A port that is open on every node and leads to the instance. */
export const PublishedPort = z.object({
  port: Port,
  policy: z.enum(["local-first"]).default("local-first"),
});
export type PublishedPort = z.infer<typeof PublishedPort>;

/** How the OS state of an instance is kept. */
export const StatePolicy = ReplicaPolicySchema.extend({
  /** A replica whose node is gone for this long is replaced on another node. */
  replaceAfterMs: z
    .number()
    .int()
    .min(replicaReplaceAfterMsMin, "must be at least 1 s")
    .max(replicaReplaceAfterMsMax),
});
export type StatePolicy = z.infer<typeof StatePolicy>;

/** What the user asked for. `options` were validated by the VOS's own schema. */
export const InstanceSpec = z.object({
  os: Name,
  nodes: z.number().int().min(1, "must be at least 1").max(1_024),
  /** Only nodes that carry all these labels. */
  on: Labels.default({}),
  image: Digest.nullable().default(null),
  options: z.record(z.string(), z.unknown()).default({}),
  publish: z
    .array(PublishedPort)
    .max(publishedPortsMax, `must name at most ${publishedPortsMax} ports`)
    .refine((ports) => new Set(ports.map((p) => p.port)).size === ports.length, "names a port twice")
    .default([]),
  /** Null where the VOS keeps no OS state. */
  state: StatePolicy.nullable().default(null),
});
export type InstanceSpec = z.infer<typeof InstanceSpec>;

/** Why an instance is not running yet, or no longer: shown to people as it stands. */
export const Condition = z.object({ reason: z.string(), message: z.string() });
export type Condition = z.infer<typeof Condition>;

/** `/t/<tenant>/i/<name>` */
export const InstanceRecord = z.object({
  tenant: Name,
  name: Name,
  /** Drawn at creation: a container of an instance that was removed and made again under its name is another one. */
  uid: z.string(),
  spec: InstanceSpec,
  /** Raised by each change of the spec. */
  generation: z.number().int().min(1),
  /** What the user wants of it now. */
  desired: z.enum(["running", "stopped", "removed"]),
  /** `creating` until every container was ready once; a failure in it rolls the instance back. */
  phase: z.enum(["creating", "established"]),
  /** Why `desired` became `removed`, when the system and not a person decided it. */
  failure: Condition.nullable().default(null),
  /** Ids of the nodes that hold a container, in the order of placement. */
  placement: z.array(z.string()),
  /** Ids of the nodes that are to hold a replica of its OS state; the first of them begins it. */
  replicas: z.array(z.string()).default([]),
  createdAt: z.string(),
});
export type InstanceRecord = z.infer<typeof InstanceRecord>;

/**
 * `/t/<tenant>/s/<uid>/configuration`: who keeps the instance's OS state now. Proposed by replicas only, changed by
 * compare-and-set only (core/coordinator/replicas). The version stands in the value: a store's own ones do not survive
 * a copy.
 */
export const ConfigurationRecord = z.object({
  version: z.number().int().min(1),
  configuration: ConfigurationSchema,
  /** Ids of the last changes, newest last: by them somebody whose answer was lost finds its own again. */
  changes: z.array(ChangeId),
});
export type ConfigurationRecord = z.infer<typeof ConfigurationRecord>;

/** `/t/<tenant>/s/<uid>/r/<node>`: the state process that a node has started, written once for each start. */
export const ReplicaRecord = z.object({
  node: z.string(),
  disk: DiskId,
  incarnation: ReplicaIncarnation,
  unix: z.string(),
  host: z.string(),
  port: z.number().int(),
  /** State processes of this node that have ended for certain, newest last. */
  exits: z.array(ExitCertificateSchema),
});
export type ReplicaRecord = z.infer<typeof ReplicaRecord>;

/** `/p/<port>`: which instance has the port, in the same transaction as the instance. */
export const PortRecord = z.object({ tenant: Name, instance: Name, uid: z.string() });
export type PortRecord = z.infer<typeof PortRecord>;

/** `/t/<tenant>/img/<digest>`: an image that is complete in the coordinator's blob store. */
export const ImageRecord = z.object({
  digest: Digest,
  /** The names that people gave it; an image without one goes when nothing uses it. */
  names: z.array(z.string()),
  files: z.number().int(),
  bytes: z.number().int(),
  createdAt: z.string(),
});
export type ImageRecord = z.infer<typeof ImageRecord>;

export const Role = z.enum(["admin", "operator", "viewer"]);
export type Role = z.infer<typeof Role>;

/** `/tok/<id>`: a join token of a node or a coordinator, or an API token; only the hash of its secret is kept. */
export const TokenRecord = z.object({
  id: z.string(),
  kind: z.enum(["join", "api", "coordinator"]),
  description: z.string().default(""),
  secretHash: z.string(),
  /** For API tokens. */
  role: Role.nullable(),
  /** Null: never. */
  expiresAt: z.string().nullable(),
  /** For join tokens: how many more nodes may use it; null: any number. */
  usesLeft: z.number().int().nullable(),
  createdAt: z.string(),
});
export type TokenRecord = z.infer<typeof TokenRecord>;

/** `/ev/<time>-<random>`: something that happened, for people. Keys sort by time. */
export const EventRecord = z.object({
  at: z.string(),
  type: z.enum(["normal", "warning"]),
  /** `instance/web`, `node/n1`, `coordinator/c1`. */
  subject: z.string(),
  reason: z.string(),
  message: z.string(),
});
export type EventRecord = z.infer<typeof EventRecord>;

/** Keys of the store. Everything below one tenant has one prefix from the first day. */
export const keys = {
  cluster: "/c/meta",
  leader: "/c/leader",
  authority: "/c/ca",
  /** Of the members of an etcd that coordinators run themselves (core/coordinator/ha). */
  storeAuthority: "/c/store-ca",
  /** `/c/co/<id>`: where each coordinator is reached (core/coordinator/members.ts). */
  coordinators: "/c/co/",
  coordinator: (id: string) => `/c/co/${id}`,
  nodes: "/n/",
  node: (id: string) => `/n/${id}`,
  nodeName: (name: string) => `/nn/${name}`,
  tenants: "/t/",
  instances: (tenant: string) => `/t/${tenant}/i/`,
  instance: (tenant: string, name: string) => `/t/${tenant}/i/${name}`,
  images: (tenant: string) => `/t/${tenant}/img/`,
  image: (tenant: string, digest: string) => `/t/${tenant}/img/${digest}`,
  /** Records of an instance's kernels (core/coordinator/kernel). The controller does not look at them. */
  kernel: (tenant: string, uid: string) => `/t/${tenant}/k/${uid}/`,
  kernelRecords: (tenant: string, uid: string) => `/t/${tenant}/k/${uid}/r/`,
  kernelRecord: (tenant: string, uid: string, id: string) => `/t/${tenant}/k/${uid}/r/${id}`,
  kernelSnapshot: (tenant: string, uid: string) => `/t/${tenant}/k/${uid}/snapshot`,
  /** Who keeps an instance's OS state (core/coordinator/replicas). */
  state: (tenant: string, uid: string) => `/t/${tenant}/s/${uid}/`,
  configuration: (tenant: string, uid: string) => `/t/${tenant}/s/${uid}/configuration`,
  replica: (tenant: string, uid: string, node: string) => `/t/${tenant}/s/${uid}/r/${node}`,
  ports: "/p/",
  port: (port: number) => `/p/${port}`,
  tokens: "/tok/",
  token: (id: string) => `/tok/${id}`,
  events: "/ev/",
} as const;
