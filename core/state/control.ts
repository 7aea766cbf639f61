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
 * Its disk is made, or the id of the one that is there read, before control.sock listens: hello names it. That is
 * within `livenessIntervalMs` of its start, whatever it has to recover after: an agent that gets no hello for so long
 * kills it. It is registered once it says `ready`, which may be minutes later (`stateReadyTimeoutMs`). It is not a
 * primary, and in no in-sync set, before it was registered: only then can its end be certified.
 */
import { z } from "zod";
import { ChangeId, ChangeOutcome, ChangeSchema, DiskId, ReplicaSet } from "./replica-set.ts";
import { StateTls } from "./boot.ts";
import { ReplicaStatus } from "./replica-status.ts";

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
