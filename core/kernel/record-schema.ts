/** Records and snapshots as they come from a node or a coordinator: checked once, where they enter. */
import { z } from "zod";
import { endpointNameCharsMax } from "../limits.ts";
import { type Endpoint, isEndpoint, slotsMax } from "./endpoint.ts";
import type { KernelRecord, Member, OrderedRecord } from "./view.ts";
import type { ViewSnapshot } from "./view-machine.ts";

const endpoint = z.custom<Endpoint>(isEndpoint, "must be an endpoint");
const kernel = z.number().int().min(1);
const counter = z.number().int().min(0);
const moveNumber = z.number().int().min(1);
const name = z.string().min(1).max(endpointNameCharsMax);
/** Random, or derived from an incarnation: never long, and safe in a key. */
export const RecordId = z.string().regex(/^[A-Za-z0-9-]{1,64}$/, "must be 1 to 64 letters, digits and -");
export const Incarnation = z.string().regex(/^[A-Za-z0-9-]{1,57}$/, "must be 1 to 57 letters, digits and -");

const joining = z.strictObject({
  incarnation: Incarnation,
  node: z.string().min(1).max(255),
  cpu: counter,
  unix: z.string().max(108),
  host: z.string().max(255),
  port: z.number().int().min(0).max(65_535),
  protocol: counter,
  protocolMin: counter,
});
const MemberSchema = joining.extend({ kernel }) satisfies z.ZodType<Member>;

export const KernelRecordSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("join"), member: joining }),
  z.discriminatedUnion("reason", [
    z.strictObject({ type: z.literal("remove"), kernel, reason: z.enum(["left", "exit-certificate"]) }),
    z.strictObject({ type: z.literal("remove"), kernel, reason: z.literal("lease"), epoch: counter }),
  ]),
  z.strictObject({ type: z.literal("grantor"), kernel, epoch: counter }),
  z.strictObject({ type: z.literal("slots"), kernel, count: z.number().int().min(1).max(slotsMax) }),
  z.strictObject({ type: z.literal("name"), name, endpoint, kernel }),
  z.strictObject({ type: z.literal("unname"), name, endpoint }),
  z.strictObject({ type: z.literal("moving"), endpoint, g: moveNumber, from: kernel, to: kernel }),
  z.strictObject({ type: z.literal("moved"), endpoint, g: moveNumber }),
  z.strictObject({ type: z.literal("aborted"), endpoint, g: moveNumber }),
  z.strictObject({ type: z.literal("backup"), endpoint, kernel }),
  z.strictObject({ type: z.literal("ended"), endpoint, kernel }),
]) satisfies z.ZodType<KernelRecord>;

export const OrderedRecordSchema = z.object({
  index: counter,
  id: RecordId,
  record: KernelRecordSchema,
}) satisfies z.ZodType<OrderedRecord>;

const place = z.object({
  ...{ holder: kernel, g: counter, since: counter, to: counter },
  backups: z.array(kernel),
});
export const ViewSnapshotSchema = z.object({
  index: counter,
  members: z.array(MemberSchema),
  gone: z.array(z.string()),
  grantor: z.object({ kernel: counter, epoch: counter }),
  slots: z.array(z.object({ start: counter, count: counter, kernel: counter, lease: counter })),
  names: z.array(z.tuple([z.string(), endpoint])),
  places: z.array(z.tuple([endpoint, place])),
}) satisfies z.ZodType<ViewSnapshot>;

/** Of the store that orders the records: raised when it is restored, and what was read before is not in it then. */
export const Generation = z.number().int().min(1);

/** A piece of an instance's log: the View of before, where the reader needs it, then records in order. */
export const RecordBatch = z.object({
  /** Missing from older coordinators: 1. */
  generation: Generation.optional(),
  snapshot: ViewSnapshotSchema.nullable(),
  records: z.array(OrderedRecordSchema),
});
export type RecordBatch = z.infer<typeof RecordBatch>;
