/**
 * What an agent and a state process tell each other: NDJSON over the Unix socket `control.sock` in the process's run
 * directory (mode 0700). The state process listens, so that an agent that restarts finds it again; without an agent
 * it goes on, and hears nothing of a coordinator. Each side ignores message types that it does not know.
 *
 *   state process                      agent                                coordinator
 *     hello (disk, incarnation) ──▶      writes the disk down, registers it ──▶  registration in the store
 *     propose (Change)          ──▶      POST …/configuration               ──▶  compare-and-set, any coordinator
 *     proposed (done|refused|unknown) ◀──
 *     ask                       ──▶      GET of what the store holds now    ──▶
 *     replicas (ReplicaSet)     ◀──      as asked for, and after each change ◀── stream of ToAgent
 *
 * Its disk is made, or the id of the one that is there read, before control.sock listens: hello names it. It is not
 * a primary, and in no in-sync set, before it was registered: only then can its end be certified.
 */
import { z } from "zod";
import {
  ChangeId,
  ChangeOutcome,
  ChangeSchema,
  DiskId,
  DurabilitySchema,
  ReplicaSet,
} from "./replica-set.ts";
import { StateTls } from "./boot.ts";

const index = z.number().int().min(0);

/** How a replica is, for people; nothing is decided by it. */
export const ReplicaStatus = z.object({
  /** `nobody`: it has not read a configuration yet. `amnesiac`: it lost what it had promised, and learns anew. */
  role: z.enum(["nobody", "learner", "backup", "primary", "amnesiac"]),
  /** Whether it answers now: reads as a backup, reads and writes as the primary. */
  serving: z.boolean(),
  /** Of the configuration that it goes by; 0 before the first. */
  epoch: z.number().int().min(0),
  /** Of the last record in its log, of the last that is committed, and of the last applied. */
  index,
  committed: index,
  applied: index,
  /** In force now: `fsync` while one replica is in sync, whatever was asked for. */
  durability: DurabilitySchema,
  /** Bytes of log, database, blocks and snapshots. */
  diskBytes: index,
  /** In plain words, with advice; empty when all is well: `the disk is full: 0 bytes free in …`. */
  problem: z.string().max(1_000),
});
export type ReplicaStatus = z.infer<typeof ReplicaStatus>;

export const FromState = z.discriminatedUnion("type", [
  /** First line of each link. */
  z.object({
    type: z.literal("hello"),
    uid: z.string(),
    incarnation: z.string(),
    disk: DiskId,
    pid: z.number().int(),
  }),
  /** After each change, and after hello. `ready`: its links listen; whether it serves is in `status`. */
  z.object({
    type: z.literal("state"),
    state: z.enum(["starting", "ready", "stopping", "failed"]),
    reason: z.string(),
    /** True when starting it again cannot help. */
    permanent: z.boolean(),
    /** TCP port of its links, 0 before it listens or where it has none. */
    port: z.number().int(),
  }),
  /** After hello and each change of role, epoch or problem; every second while the figures move. */
  z.object({ type: z.literal("status"), ...ReplicaStatus.shape }),
  /** Read the configuration from the store now: answered by `replicas`, or not at all while no coordinator answers. */
  z.object({ type: z.literal("ask") }),
  /** Answered by `proposed`. Sent again under its change id it is made at most once. */
  z.object({ type: z.literal("propose"), change: ChangeSchema }),
]);
export type FromState = z.infer<typeof FromState>;

export const ToState = z.discriminatedUnion("type", [
  /** Hand over what can be handed over, write what is in memory, say so on the disk, exit; after graceMs exit anyway. */
  z.object({ type: z.literal("stop"), graceMs: z.number().int() }),
  /** New certificate, for connections from now on. */
  z.object({ type: z.literal("tls"), ...StateTls.shape }),
  /** After hello when it is known, after each change, and as an answer to `ask`. Never older than the one before. */
  z.object({ type: z.literal("replicas"), replicas: ReplicaSet }),
  z.object({
    type: z.literal("proposed"),
    changeId: ChangeId,
    outcome: ChangeOutcome,
    /** Why it was refused, or is not known. */
    reason: z.string(),
  }),
]);
export type ToState = z.infer<typeof ToState>;
