/**
 * What a host process that no agent has started (`dvs instance mount`) and the agent of its node say to each other: NDJSON
 * over the Unix socket `clients.sock` in the agent's run directory, which only its owner may open. The agent listens.
 *
 *   process                     agent
 *     reach (instance)    ──▶
 *                         ◀──     reach: who it is towards the replicas, and where they are; again after each change
 *                         ◀──     refused: nothing of the instance is here. Asked again, it may be otherwise
 *
 * An agent that ends takes nothing along: the process goes on with what it knows, and connects to the next one.
 */
import { z } from "zod";
import { StateTls } from "../state/boot.ts";
import { ReplicaSet } from "../state/replica-set.ts";

export const FromOutside = z.discriminatedUnion("type", [
  /** By its name. Once on each link. */
  z.object({ type: z.literal("reach"), instance: z.string().max(256) }),
]);
export type FromOutside = z.infer<typeof FromOutside>;

export const ToOutside = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("reach"),
    uid: z.string(),
    /** Id of this node. */
    node: z.string(),
    /** Hex. */
    secret: z.string(),
    /** Null: only replicas of this node are reached. */
    tls: StateTls.nullable(),
    replicas: ReplicaSet,
    /** Directory of the images' files. */
    blobs: z.string(),
  }),
  z.object({ type: z.literal("refused"), error: z.unknown() }),
]);
export type ToOutside = z.infer<typeof ToOutside>;
export type ReachOutside = Extract<ToOutside, { type: "reach" }>;

/** A line is a name. */
export const outsideLineCharsMax = 4_096;
