/**
 * What an agent and a container tell each other: NDJSON over the Unix socket `control.sock` in the container's run
 * directory (mode 0700). The container listens, so that an agent that restarts finds it again; when the link
 * breaks the container goes on. Each side ignores message types that it does not know.
 */
import { z } from "zod";
import { ContainerSpec, KernelQuery, KernelState, RecordProposal } from "../agent-protocol.ts";
import { Generation, RecordBatch } from "../kernel/record-schema.ts";
import { ReplicaSet } from "../state/replica-set.ts";

export const ContainerTls = z.object({
  certificate: z.string(),
  key: z.string(),
  ca: z.string(),
  /** Missing from an agent that does not know of kernels. */
  workloadCa: z.string().optional(),
});
export type ContainerTls = z.infer<typeof ContainerTls>;

/** `boot.json` in the run directory: all that a container is told before it starts. Mode 0600. */
export const ContainerBoot = z.object({
  spec: ContainerSpec,
  node: z.object({ id: z.string(), name: z.string(), address: z.string() }),
  incarnation: z.string(),
  /** Holds control.sock, http.sock, container.log, access.log. */
  runDir: z.string(),
  /** Root of the node's blob store. */
  blobDir: z.string(),
  /** Where other nodes' ingress reaches it; port 0 = any. If the port is taken, any other. */
  listen: z.object({ host: z.string(), port: z.number().int() }),
  /**
   * PEM. `ca` signs the ingresses (nodes) that may connect, `workloadCa` the instance's containers on other nodes.
   * Null: plain HTTP, and only if `listen` is on loopback.
   */
  tls: ContainerTls.nullable(),
  /** Hex, the same for all containers of the instance on this node: by it their kernels know each other. */
  kernelSecret: z.string().optional(),
});
export type ContainerBoot = z.infer<typeof ContainerBoot>;

export const FromContainer = z.discriminatedUnion("type", [
  /** First line of each link. */
  z.object({
    type: z.literal("hello"),
    uid: z.string(),
    incarnation: z.string(),
    generation: z.number().int(),
    pid: z.number().int(),
  }),
  /** After each change, and after hello. */
  z.object({
    type: z.literal("state"),
    state: z.enum(["starting", "ready", "stopping", "failed"]),
    reason: z.string(),
    permanent: z.boolean(),
    /** It ends only to begin anew, as its kernel was removed meanwhile: nothing is wrong with it. */
    anew: z.boolean().optional(),
    /** TCP port it listens on, 0 before. */
    port: z.number().int(),
  }),
  /** Every second while something changed. */
  z.object({ type: z.literal("stats"), requests: z.number().int() }),
  /** A blob is missing or does not have its digest; answered by `blob` when it is good again. */
  z.object({ type: z.literal("badBlob"), digest: z.string() }),
  /** After each change, and after hello, where the VOS has a kernel. */
  z.object({ type: z.literal("kernel"), ...KernelState.shape }),
  /** A line of what `kernelStream` asked for; null: its end. */
  z.object({ type: z.literal("kernelLine"), id: z.string(), line: z.string().nullable() }),
  /** Records of the instance's kernels, from the one after `after` on: `kernelRecords`. Again on each link. */
  z.object({
    type: z.literal("kernelFollow"),
    after: z.number().int().min(0),
    generation: Generation.optional(),
  }),
  /** All records up to here have been applied. */
  z.object({ type: z.literal("kernelRead"), index: z.number().int().min(0) }),
  /** Answered by `kernelProposed`. */
  z.object({ type: z.literal("kernelPropose"), ...RecordProposal.shape }),
]);
export type FromContainer = z.infer<typeof FromContainer>;

export const ToContainer = z.discriminatedUnion("type", [
  /** Accept nothing new, answer what is under way, then exit; after graceMs exit anyway. */
  z.object({ type: z.literal("stop"), graceMs: z.number().int() }),
  z.object({ type: z.literal("blob"), digest: z.string(), ok: z.boolean(), reason: z.string() }),
  z.object({ type: z.literal("kernelRecords"), ...RecordBatch.shape }),
  /** Answered by `kernelLine`s, until `max` of them or `kernelStreamStop`. */
  z.object({ type: z.literal("kernelStream"), id: z.string(), ...KernelQuery.shape }),
  z.object({ type: z.literal("kernelStreamStop"), id: z.string() }),
  /** The record's index, or why there is none: UNAVAILABLE, OUTCOME_UNKNOWN, FORBIDDEN, INVALID. */
  z.object({
    type: z.literal("kernelProposed"),
    id: z.string(),
    index: z.number().int().nullable(),
    code: z.string(),
    reason: z.string(),
  }),
  /** New certificate, for connections from now on. */
  z.object({ type: z.literal("tls"), ...ContainerTls.shape }),
  /** Who keeps the instance's state: after hello, and at each change. */
  z.object({ type: z.literal("replicas"), replicas: ReplicaSet }),
]);
export type ToContainer = z.infer<typeof ToContainer>;
