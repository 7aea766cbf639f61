/**
 * What an agent and the coordinator tell each other. Both directions are level-triggered: each message is the whole
 * state, so a lost one is repaired by the next, and either side may restart at any moment.
 *
 *   coordinator → agent   Desired     which containers this node runs, which ports lead where
 *   agent → coordinator   Heartbeat   "I live", with a Report when something changed since the last acknowledged one
 *
 * Agents call the coordinator, never the reverse. Paths, on the port that demands a node's certificate:
 *   GET  /agent/v1/desired           NDJSON stream of ToAgent, the newest Desired first, then on each change
 *   POST /agent/v1/heartbeat         Heartbeat → HeartbeatAnswer
 *   POST /agent/v1/certificate       {csr} → {certificate}: the node's own, renewed
 *   POST /agent/v1/instances/:uid/certificate  {csr} → {certificate, authority}: a container's
 *   POST /agent/v1/instances/:uid/records   RecordProposal → {index}: a record of its kernels, ordered
 *   POST /agent/v1/instances/:uid/follow    RecordsFollow → {}: from now on `records` come in the stream of ToAgent
 *   POST /agent/v1/instances/:uid/exits     {incarnation} → {}: an exit certificate
 *   POST /agent/v1/instances/:uid/state           StateOf → ReplicaSet: who keeps its OS state, as of now
 *   POST /agent/v1/instances/:uid/state/replica   ReplicaRegistration → {}: a state process that has started
 *   POST /agent/v1/instances/:uid/state/change    ChangeProposal → ChangeAnswer: by compare-and-set
 *   POST /agent/v1/instances/:uid/state/gone      StateOf → StateGone: before the data of a replica is removed
 *   POST /agent/v1/instances/:uid/state/exit      ReplicaExit → {}: an exit certificate of a state process
 *   GET  /agent/v1/images/:digest/manifest, POST /agent/v1/blobs/fetch: see core/image
 *   POST /agent/v1/streams/:id       the bytes that a `logs` message of ToAgent asked for, and others with an id
 *   GET  /agent/v1/streams/:id       the bytes that a `restore` message, or a `put` to a file system, brings
 */
import { z } from "zod";
import {
  Generation,
  Incarnation,
  KernelRecordSchema,
  RecordBatch,
  RecordId,
} from "./kernel/record-schema.ts";
import { Digest, Name, Port } from "./names.ts";
import { FilesAsk } from "./files/remote/ask.ts";
import { KvAsk } from "./state/kv-ask.ts";
import { ReplicaStatus } from "./state/replica-status.ts";
import {
  ChangeOutcome,
  ChangeSchema,
  DiskId,
  ReplicaIncarnation,
  ReplicaPolicySchema,
  ReplicaSet,
} from "./state/replica-set.ts";

/** A container as the coordinator wants it on a node. */
export const ContainerSpec = z.object({
  tenant: Name,
  instance: Name,
  uid: z.string(),
  generation: z.number().int(),
  os: Name,
  image: Digest.nullable(),
  options: z.record(z.string(), z.unknown()),
});
export type ContainerSpec = z.infer<typeof ContainerSpec>;

/** A container of an instance as ingress reaches it from another node: mutual TLS on host:port. */
export const RouteUpstream = z.object({
  node: z.string(),
  host: z.string(),
  port: Port,
  incarnation: z.string(),
});
export type RouteUpstream = z.infer<typeof RouteUpstream>;

/** A published port: open on every node, leading to the instance's containers. */
export const Route = z.object({
  port: Port,
  policy: z.enum(["local-first"]),
  tenant: Name,
  instance: Name,
  uid: z.string(),
  /** The one URI that the upstreams' certificates must carry, without the node: see core/trust. */
  uri: z.string(),
  /** Every placed container that was ever ready, healthy or not: health is the ingress's own judgement. */
  upstreams: z.array(RouteUpstream),
});
export type Route = z.infer<typeof Route>;

/** A replica of an instance's OS state as the coordinator wants it on a node. */
export const ReplicaSpec = z.object({
  tenant: Name,
  instance: Name,
  uid: z.string(),
  generation: z.number().int(),
  os: Name,
  policy: ReplicaPolicySchema,
  /** False: its data is kept and no process runs, since the instance is stopped or another replica takes its place. */
  run: z.boolean(),
  /** The instance's: files of its state may begin with those of the image, so the node keeps it. */
  image: z.string().optional(),
});
export type ReplicaSpec = z.infer<typeof ReplicaSpec>;

export const Desired = z.object({
  clusterId: z.string(),
  /** Raised by restore and copy of the store: an agent refuses an older one. */
  storeGeneration: z.number().int(),
  /** Revision of the store this was derived from; never goes back within one storeGeneration. */
  revision: z.number().int(),
  node: z.object({ id: z.string(), name: Name, address: z.string() }),
  /** All of them: a container that is not named is stopped and its data removed. */
  containers: z.array(ContainerSpec),
  /**
   * All of them. The data of one that is not named is removed, but only where a Desired of the same storeGeneration
   * has named it: a store that was restored may have forgotten an instance.
   */
  replicas: z.array(ReplicaSpec).default([]),
  routes: z.array(Route),
});
export type Desired = z.infer<typeof Desired>;

/** `container`: what it says; `access`: the requests that it answered. */
export const LogName = z.enum(["container", "access"]);
export type LogName = z.infer<typeof LogName>;

/**
 * `endpoints`: a page of those that the kernel knows; `view`: one line, KernelViewLine; `trace`: messages from or to one
 * of its endpoints, as they come and go.
 */
export const KernelQuery = z.object({
  what: z.enum(["endpoints", "view", "trace"]),
  /** Of a trace; of a page: those above this one. */
  endpoint: z.number().int().min(0),
  /** The stream ends after so many lines. */
  max: z.number().int().min(1),
});
export type KernelQuery = z.infer<typeof KernelQuery>;

/** The View of an instance's kernels, as one of them has read it. */
export const KernelViewLine = z.object({
  index: z.number().int(),
  members: z.number().int(),
  /** `kernel` 0: nobody grants leases. */
  grantor: z.object({ kernel: z.number().int(), epoch: z.number().int(), node: z.string() }),
});
export type KernelViewLine = z.infer<typeof KernelViewLine>;

export const ToAgent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("desired"), desired: Desired }),
  /** Send the log of a container to POST /agent/v1/streams/:id. */
  z.object({
    type: z.literal("logs"),
    id: z.string(),
    uid: z.string(),
    /** Missing from older coordinators: `container`. */
    file: LogName.optional(),
    tailLines: z.number().int(),
    follow: z.boolean(),
  }),
  /** Send what a container's kernel tells of itself to POST /agent/v1/streams/:id, as lines of JSON. */
  z.object({ type: z.literal("kernelStream"), id: z.string(), uid: z.string(), ...KernelQuery.shape }),
  /** Send the answer to a question to an instance's key-value to POST /agent/v1/streams/:id, as lines of JSON. */
  z.object({ type: z.literal("kvStream"), id: z.string(), uid: z.string(), ask: KvAsk }),
  /**
   * Send the answer to a question to an instance's file system to POST /agent/v1/streams/:id: lines of JSON, or frames
   * of files (core/files/remote). Of a `put`, GET /agent/v1/streams/:id gives the frames.
   */
  z.object({ type: z.literal("filesStream"), id: z.string(), uid: z.string(), ask: FilesAsk }),
  /** Records of an instance's kernels that this node follows, each once and in order: what comes after those before. */
  z.object({ type: z.literal("records"), uid: z.string(), ...RecordBatch.shape }),
  /** Send a backup of the OS state (core/state/backup) to POST /agent/v1/streams/:id. */
  z.object({ type: z.literal("backup"), id: z.string(), uid: z.string() }),
  /** Restore what GET /agent/v1/streams/:id gives, and tell what became of it to POST /agent/v1/streams/:id. */
  z.object({ type: z.literal("restore"), id: z.string(), uid: z.string() }),
  /** Who keeps the OS state of an instance that has a replica or a container here: at each change, and in each stream. */
  z.object({ type: z.literal("replicas"), uid: z.string(), replicas: ReplicaSet }),
  /** The record of this node is gone: stop everything and end. */
  z.object({ type: z.literal("removed") }),
  /** Nothing happened; sent so that a dead link is noticed. */
  z.object({ type: z.literal("ping") }),
]);
export type ToAgent = z.infer<typeof ToAgent>;

export const ContainerState = z.enum(["pulling", "starting", "ready", "stopping", "backoff", "failed"]);
export type ContainerState = z.infer<typeof ContainerState>;

/** How a container's kernel is: a frozen one has no lease and does nothing until it has one again. */
export const KernelState = z.object({
  /** Number in the View, 0 before it has joined. */
  kernel: z.number().int(),
  state: z.enum(["joining", "running", "frozen", "exited"]),
});
export type KernelState = z.infer<typeof KernelState>;

export const ContainerReport = z.object({
  tenant: Name,
  instance: Name,
  uid: z.string(),
  /** Random per host process. */
  incarnation: z.string(),
  generation: z.number().int(),
  state: ContainerState,
  /** Why, in words for people, when the state is not `ready`. */
  reason: z.string(),
  /** True when trying again cannot help (bad options, no such VOS): creation is rolled back. */
  permanent: z.boolean().default(false),
  pid: z.number().int(),
  /** Where other nodes' ingress reaches it, 0 until it listens. */
  port: z.number().int(),
  restarts: z.number().int(),
  startedAt: z.string(),
  requests: z.number().int(),
  /** Missing where the VOS has none. */
  kernel: KernelState.optional(),
});
export type ContainerReport = z.infer<typeof ContainerReport>;

/** A replica on a node: its process as the agent sees it, and what that tells of itself. */
export const ReplicaReport = z.object({
  tenant: Name,
  instance: Name,
  uid: z.string(),
  generation: z.number().int(),
  /** Empty until its process has told it. */
  disk: z.string(),
  incarnation: z.string(),
  /** `kept`: its data is here, and no process is wanted. */
  state: z.enum([...ContainerState.options, "kept"]),
  /** Why, in words for people, when the state is not `ready`. */
  reason: z.string(),
  /** True when trying again cannot help. */
  permanent: z.boolean(),
  pid: z.number().int(),
  restarts: z.number().int(),
  startedAt: z.string(),
  /** Null before its process has told it. */
  status: ReplicaStatus.nullable(),
});
export type ReplicaReport = z.infer<typeof ReplicaReport>;

export const PortReport = z.object({
  port: Port,
  uid: z.string(),
  state: z.enum(["open", "failed"]),
  reason: z.string(),
  /** False: it is open, but leads to no container yet. */
  routed: z.boolean().optional(),
});
export type PortReport = z.infer<typeof PortReport>;

export const Report = z.object({
  version: z.string(),
  runtime: z.string(),
  bootId: z.string(),
  cpus: z.number(),
  memoryBytes: z.number(),
  diskFreeBytes: z.number(),
  /** Applied Desired.revision. */
  revision: z.number().int(),
  containers: z.array(ContainerReport),
  replicas: z.array(ReplicaReport).default([]),
  ports: z.array(PortReport),
  /** Published-port requests since the ingress started. */
  ingressRequests: z.number().int(),
  /** Problems of the node itself, for people: `disk full: 0 bytes free in /var/lib/dvs`. */
  warnings: z.array(z.string()),
});
export type Report = z.infer<typeof Report>;

export const Heartbeat = z.object({
  /** Random per agent process; a new one makes the coordinator forget the old report. */
  incarnation: z.string(),
  sequence: z.number().int(),
  report: Report.optional(),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

export const HeartbeatAnswer = z.object({
  /** True when the coordinator has no report of this incarnation (it restarted): send the whole one next. */
  reportWanted: z.boolean(),
  /** `host:port` of every coordinator's port for agents: they come and go after a node has joined. */
  coordinators: z.array(z.string()).optional(),
});
export type HeartbeatAnswer = z.infer<typeof HeartbeatAnswer>;

/** Proposed again under its id it is ordered once. */
export const RecordProposal = z.object({
  id: RecordId,
  record: KernelRecordSchema,
  /** Of the records that its kernel has read; missing: none yet, or it is of an older version, and 1. */
  generation: Generation.optional(),
});
export type RecordProposal = z.infer<typeof RecordProposal>;

export const RecordsFollow = z.object({
  /** The containers of the node have applied all up to here. */
  read: z.number().int().min(0),
  /** Send what comes after this record, from now on and once more if it was sent before. */
  after: z.number().int().min(0).optional(),
  /** Of the records up to there. Missing: 1. */
  generation: Generation.optional(),
});
export type RecordsFollow = z.infer<typeof RecordsFollow>;

/** An exit certificate: the agent has reaped this process, or seen (pid, start time) gone from /proc. */
export const ContainerExit = z.object({ incarnation: Incarnation });
export type ContainerExit = z.infer<typeof ContainerExit>;

/** The instance whose OS state is meant: all of it, so that a coordinator finds it in the store without more. */
export const StateOf = z.object({ tenant: Name, instance: Name, uid: z.string() });
export type StateOf = z.infer<typeof StateOf>;

export const ReplicaRegistration = StateOf.extend({
  disk: DiskId,
  incarnation: ReplicaIncarnation,
  unix: z.string().max(108),
  port: z.number().int().min(0).max(65_535),
});
export type ReplicaRegistration = z.infer<typeof ReplicaRegistration>;

/** Proposed again under its change id it is made once. */
export const ChangeProposal = StateOf.extend({ change: ChangeSchema });
export type ChangeProposal = z.infer<typeof ChangeProposal>;

export const ChangeAnswer = z.object({ outcome: ChangeOutcome, reason: z.string() });
export type ChangeAnswer = z.infer<typeof ChangeAnswer>;

/** Whether the replica on the asking node is of no use to anybody, as of now: a Desired may be old when it is obeyed. */
export const StateGone = z.object({ gone: z.boolean() });
export type StateGone = z.infer<typeof StateGone>;

/** The agent has reaped this state process, or seen (pid, start time) gone from /proc. */
export const ReplicaExit = StateOf.extend({ disk: DiskId, incarnation: ReplicaIncarnation });
export type ReplicaExit = z.infer<typeof ReplicaExit>;
