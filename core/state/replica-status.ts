/** How a replica is, as its state process tells it. */
import { z } from "zod";
import { DurabilitySchema } from "./replica-set.ts";

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
