/** What the API shows of the cluster: records joined with what the nodes report. Derived, never stored. */
import { z } from "zod";
import { ContainerReport, KernelState, PortReport, ReplicaReport } from "../agent-protocol.ts";
import { Condition, InstanceSpec, NodeRecord, StatePolicy } from "../records.ts";
import { ReplicaStatus } from "../state/replica-status.ts";

/** An instance's state in one word. */
export const InstancePhase = z.enum([
  /** Waiting for something that `conditions` names: nodes, an image. */
  "pending",
  /** Placed; containers are being started for the first time. */
  "creating",
  /** Every container it asks for is ready and every published port is open. */
  "running",
  /** It serves, with fewer containers or ports than asked for; `conditions` says why. */
  "degraded",
  /** No container of it is ready. */
  "down",
  "stopping",
  "stopped",
  "removing",
]);
export type InstancePhase = z.infer<typeof InstancePhase>;

export const ContainerView = z.object({
  node: z.string(),
  nodeName: z.string(),
  /** `lost`: its node is down. `waiting`: its node has not reported it yet. */
  state: z.enum([...ContainerReport.shape.state.options, "waiting", "lost"]),
  reason: z.string(),
  restarts: z.number().int(),
  incarnation: z.string(),
  pid: z.number().int(),
  port: z.number().int(),
  startedAt: z.string(),
  requests: z.number().int(),
  /** Missing where the VOS has no kernel, or it is not known how that is. */
  kernel: KernelState.optional(),
});
export type ContainerView = z.infer<typeof ContainerView>;

/** A replica of an instance's OS state. */
export const ReplicaView = z.object({
  node: z.string(),
  nodeName: z.string(),
  /** False: it goes once enough others are in sync. */
  wanted: z.boolean(),
  /** By the configuration in the store: it has all that was acknowledged. */
  inSync: z.boolean(),
  /** `lost`: its node is down. `waiting`: its node has not reported it yet. */
  state: z.enum([...ReplicaReport.shape.state.options, "waiting", "lost"]),
  reason: z.string(),
  /** What it says of itself, as of its node's last report. */
  role: ReplicaStatus.shape.role,
  serving: z.boolean(),
  epoch: z.number().int(),
  /** Of the last record in its log, and of the last that is committed. */
  index: z.number().int(),
  committed: z.number().int(),
  /** Records that the longest log known has more; null where it has not said. */
  lag: z.number().int().nullable(),
  durability: ReplicaStatus.shape.durability,
  diskBytes: z.number().int(),
  /** In plain words, with advice. */
  problem: z.string(),
  pid: z.number().int(),
  restarts: z.number().int(),
});
export type ReplicaView = z.infer<typeof ReplicaView>;

/** Who keeps an instance's OS state. */
export const StateView = z.object({
  policy: StatePolicy,
  /** Both 0 before the first configuration. */
  epoch: z.number().int(),
  version: z.number().int(),
  /** Of the store, when the configuration was written. */
  generation: z.number().int(),
  /** By the configuration in the store, whether it serves or not. */
  primary: z.object({ node: z.string(), nodeName: z.string() }).nullable(),
  inSync: z.number().int(),
  replicas: z.array(ReplicaView),
});
export type StateView = z.infer<typeof StateView>;

export const InstanceView = z.object({
  tenant: z.string(),
  name: z.string(),
  uid: z.string(),
  spec: InstanceSpec,
  generation: z.number().int(),
  phase: InstancePhase,
  desired: z.enum(["running", "stopped", "removed"]),
  /** Why the phase is not `running`, each shown as it stands: `unschedulable: needs 3 nodes, 2 are up`. */
  conditions: z.array(Condition),
  ready: z.number().int(),
  containers: z.array(ContainerView),
  /** Per node that cannot open one of its ports. */
  ports: z.array(PortReport.extend({ node: z.string(), nodeName: z.string() })),
  /** Null where the VOS keeps none. */
  state: StateView.nullable().default(null),
  createdAt: z.string(),
  /** Of one instance only, not in lists; missing where the VOS has no kernels, or none of them answers. */
  kernels: z
    .object({
      members: z.number().int(),
      /** Who grants the others the leases under which they run. */
      grantor: z
        .object({ kernel: z.number().int(), node: z.string(), nodeName: z.string(), epoch: z.number().int() })
        .nullable(),
    })
    .optional(),
});
export type InstanceView = z.infer<typeof InstanceView>;

export const NodeView = NodeRecord.extend({
  /** `unknown`: this coordinator has just taken over and has not heard of it yet; counted as alive. */
  state: z.enum(["up", "down", "unknown"]),
  /** Milliseconds since its last heartbeat; null when there was none yet. */
  lastSeenMs: z.number().nullable(),
  version: z.string(),
  runtime: z.string(),
  cpus: z.number(),
  memoryBytes: z.number(),
  diskFreeBytes: z.number(),
  containers: z.number().int(),
  warnings: z.array(z.string()),
  ingressRequests: z.number().int(),
});
export type NodeView = z.infer<typeof NodeView>;

/** A line of a watch: the whole view after a change. `synced` ends the initial list. */
export const InstanceWatchEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("instance"), instance: InstanceView }),
  z.object({
    type: z.literal("removed"),
    tenant: z.string(),
    name: z.string(),
    uid: z.string(),
    failure: Condition.nullable(),
  }),
  z.object({ type: z.literal("synced") }),
]);
export type InstanceWatchEvent = z.infer<typeof InstanceWatchEvent>;
