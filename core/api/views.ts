/** What the API shows of the cluster: records joined with what the nodes report. Derived, never stored. */
import { z } from "zod";
import { ContainerReport, KernelState, PortReport } from "../agent-protocol.ts";
import { Condition, InstanceSpec, NodeRecord } from "../records.ts";

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
  createdAt: z.string(),
  /** Of one instance only, not in lists; missing where the VOS has no kernels, or the store does not answer. */
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
