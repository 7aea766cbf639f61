/**
 * Who keeps an instance's OS state, as it goes between state process, agent and coordinator: checked once, where it
 * enters. The types behind are those of core/replica/configuration.ts.
 */
import { z } from "zod";
import type {
  Change,
  Configuration,
  ExitCertificate,
  Holder,
  Replica,
  ReplicaPolicy,
  Versioned,
} from "../replica/configuration.ts";

export const replicasMax = 5;

export const DiskId = z.string().regex(/^[0-9a-f]{32}$/, "must be 32 hex digits");
/** Random per host process. */
export const ReplicaIncarnation = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,64}$/, "must be 1 to 64 letters, digits and -");
export const ChangeId = z.string().regex(/^[A-Za-z0-9-]{8,64}$/, "must be 8 to 64 letters, digits and -");
const counter = z.number().int().min(0);
const node = z.string().min(1).max(255);

export const HolderSchema = z.strictObject({ disk: DiskId, incarnation: ReplicaIncarnation });

export const ConfigurationSchema = z
  .strictObject({
    epoch: z.number().int().min(1),
    primary: HolderSchema,
    generation: counter,
    // More than `replicasMax` while some of them are being replaced.
    inSync: z
      .array(DiskId)
      .min(1)
      .max(2 * replicasMax),
    changeId: ChangeId,
  })
  .refine((c) => c.inSync.includes(c.primary.disk), "the primary is in sync with itself")
  .refine(
    (c) => c.inSync.every((disk, i) => i === 0 || c.inSync[i - 1]! < disk),
    "the disks in sync must be sorted, each once",
  ) satisfies z.ZodType<Configuration>;

export const VersionedSchema = z
  .object({ generation: counter, version: counter, configuration: ConfigurationSchema.nullable() })
  .refine(
    (v) => (v.version === 0) === (v.configuration === null),
    "a version has a configuration",
  ) satisfies z.ZodType<Versioned>;

export const ChangeSchema = z.strictObject({
  generation: counter,
  version: counter,
  configuration: ConfigurationSchema,
}) satisfies z.ZodType<Change>;

export const DurabilitySchema = z.enum(["fsync", "replicated"]);

export const ReplicaPolicySchema = z.object({
  replicas: z.number().int().min(1).max(replicasMax),
  minInSync: z.number().int().min(1).max(replicasMax),
  durability: DurabilitySchema,
}) satisfies z.ZodType<ReplicaPolicy>;

export const ReplicaSchema = z.object({
  node,
  disk: DiskId.nullable(),
  incarnation: ReplicaIncarnation.nullable(),
  unix: z.string().max(108),
  host: z.string().max(255),
  port: z.number().int().min(0).max(65_535),
}) satisfies z.ZodType<Replica>;

export const ExitCertificateSchema = z.strictObject({
  node,
  disk: DiskId,
  incarnation: ReplicaIncarnation,
}) satisfies z.ZodType<ExitCertificate>;

/** All that a coordinator tells of an instance's replicas: the whole of it at each change, so a lost one is repaired. */
export const ReplicaSet = z.object({
  /** Revision of the store it was read at: within one generation, what is older than another is of no use. */
  revision: counter,
  configuration: VersionedSchema,
  policy: ReplicaPolicySchema,
  /** In the coordinator's order: the first of them proposes the first configuration of all. */
  wanted: z.array(ReplicaSchema),
  /** In the configuration and not wanted any more: they go once others are in sync. */
  leaving: z.array(ReplicaSchema),
  /** Of registered disks, newest last. */
  exits: z.array(ExitCertificateSchema),
});
export type ReplicaSet = z.infer<typeof ReplicaSet>;

/** Those that have registered: where their links listen, wanted ones first. */
export function addressesOf({ wanted, leaving }: Pick<ReplicaSet, "wanted" | "leaving">): ReplicaAddress[] {
  return [...wanted, ...leaving].flatMap(({ disk, node: at, unix, host, port }) =>
    disk === null ? [] : [{ disk, node: at, unix, host, port }],
  );
}
/** Where a registered replica's state process listens. */
export type ReplicaAddress = Omit<Replica, "disk" | "incarnation"> & { disk: string };

/** What became of a proposed change. `unknown`: it may have been made, or be made later; only reading tells. */
export const ChangeOutcome = z.enum(["done", "refused", "unknown"]);
export type ChangeOutcome = z.infer<typeof ChangeOutcome>;

/** Whether the one tells less than the other: of an older generation of the store, or an older revision of the same. */
export function isOlder(a: Pick<ReplicaSet, "revision" | "configuration">, b: typeof a): boolean {
  const generations = a.configuration.generation - b.configuration.generation;
  return generations < 0 || (generations === 0 && a.revision < b.revision);
}

export type { Holder };
