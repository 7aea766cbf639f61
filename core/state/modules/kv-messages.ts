/**
 * The module `kv` from outside: what can be written, read and followed. A key's revision is that of the record
 * that last changed it, so revisions of all keys are in one order, and none is given twice, also when records are lost.
 */
import { z } from "zod";
import { kvKeyBytesMax, kvLeaseTtlMsMax, kvListMax, kvOperationsMax, kvValueBytesMax } from "../../limits.ts";

const encoder = new TextEncoder();
export const KvKey = z
  .string()
  .min(1)
  .refine((key) => key.isWellFormed(), "a key must be well-formed Unicode")
  .refine((key) => encoder.encode(key).length <= kvKeyBytesMax, `a key has at most ${kvKeyBytesMax} bytes`);
const prefix = z
  .string()
  .refine((key) => encoder.encode(key).length <= kvKeyBytesMax, "a prefix is too long");
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, "must be bytes");
export const KvValue = bytes.refine(
  (value) => value.length <= kvValueBytesMax,
  `a value has at most ${kvValueBytesMax} bytes`,
);
const revision = z.number().int().min(0);
const leaseId = z.string().regex(/^[A-Za-z0-9-]{1,64}$/, "must be 1 to 64 letters, digits and -");

/** One change. With `ifRevision` it happens only at that revision of the key; 0: only where there is no such key. */
export const KvChange = z.discriminatedUnion("op", [
  z.strictObject({
    op: z.literal("put"),
    key: KvKey,
    value: KvValue,
    ifRevision: revision.optional(),
    /** The key goes with the lease. */
    lease: leaseId.optional(),
  }),
  z.strictObject({ op: z.literal("delete"), key: KvKey, ifRevision: revision.optional() }),
]);
export type KvChange = z.infer<typeof KvChange>;

/** What a client writes. A lease that is not kept within its time is ended by time that the primary draws. */
export const KvOperation = z.discriminatedUnion("op", [
  ...KvChange.options,
  /** All of them or, where one `ifRevision` does not hold, none. Each key once. */
  z.strictObject({ op: z.literal("all"), changes: z.array(KvChange).min(1).max(kvOperationsMax) }),
  z.strictObject({
    op: z.literal("grant"),
    lease: leaseId,
    ttlMs: z.number().int().min(1_000).max(kvLeaseTtlMsMax),
  }),
  z.strictObject({ op: z.literal("keep"), lease: leaseId }),
  z.strictObject({ op: z.literal("revoke"), lease: leaseId }),
  /** Ends the leases that have run out by the record's time: written by the primary now and then. */
  z.strictObject({ op: z.literal("expire") }),
]);
export type KvOperation = z.infer<typeof KvOperation>;

export const KvResult = z.object({
  /** False: an `ifRevision` did not hold, or there is no such lease or key; nothing was changed. */
  done: z.boolean(),
  /** Of the change; where it was not done, the present revision of the key that did not fit, 0 where there is none. */
  revision,
});
export type KvResult = z.infer<typeof KvResult>;

export const KvQuery = z.discriminatedUnion("get", [
  z.strictObject({ get: z.literal("key"), key: KvKey }),
  /** In order of their bytes, at most `limit`, those after `after`. */
  z.strictObject({
    get: z.literal("list"),
    prefix,
    after: prefix.optional(),
    limit: z.number().int().min(1).max(kvListMax),
  }),
]);
export type KvQuery = z.infer<typeof KvQuery>;

export const KvEntry = z.object({
  key: z.string(),
  value: bytes,
  revision,
  /** Missing without a lease. */
  lease: z.string().optional(),
});
export type KvEntry = z.infer<typeof KvEntry>;

/** Of `key` the entry or none, of `list` the entries. `more`: it ended before `limit`, at a number of bytes. */
export const KvFound = z.object({ entries: z.array(KvEntry), more: z.boolean().default(false) });
export type KvFound = z.infer<typeof KvFound>;

/**
 * Changes of keys with a prefix, of revisions above `after`; refused as too old where they are no longer kept. Without
 * `after`: of what is applied from now on.
 */
export const KvWatch = z.strictObject({ prefix, after: revision.optional() });
export type KvWatch = z.infer<typeof KvWatch>;

/** All changes of one record to what is watched, in its order. */
export const KvEvent = z.object({
  revision,
  changes: z.array(z.object({ key: z.string(), value: bytes.nullable() })),
});
export type KvEvent = z.infer<typeof KvEvent>;
