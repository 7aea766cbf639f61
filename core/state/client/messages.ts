/**
 * What a client of the OS state (a container, or an agent for somebody at a terminal) and a replica's state process say
 * to each other, over a link of core/state/link. Any replica takes any of them: it hands a write on to the primary.
 *
 *     write    sequence, ackedBelow, module, operation     → written   sequence, outcome, value, index
 *     read     ticket, module, query                       → answer    ticket, outcome, value, index
 *     follow   ticket, module, query                       → event     ticket, value …, then ended
 *     unfollow ticket
 *
 * A client's name is the incarnation in its hello. A write that is sent again, to whomever, is carried out once: its
 * result is kept until `ackedBelow` of the same client is above its sequence.
 */
import { z } from "zod";
import { Malformed } from "../../kernel/proxy/malformed.ts";
import type { Fields } from "../link/frames.ts";

export const clientNumbers = {
  write: 16,
  written: 17,
  read: 18,
  answer: 19,
  follow: 20,
  event: 21,
  ended: 22,
  unfollow: 23,
} as const;

/** Numbers of messages between replicas begin here. */
export const firstReplicaNumber = 64;

/** What became of a write or a read. */
export const outcomes = {
  /** `value` is the result. */
  ok: 0,
  /** Not carried out by this replica now: it is asked again, here or elsewhere, until the time is up. `value` says why. */
  refused: 1,
  /** A write of which nothing is known any more. Not carried out again. */
  unknown: 2,
  /** The module refuses it whoever asks: `value` says why. */
  invalid: 3,
  /** Not carried out, and its caller is to know at once: too few replicas in sync, no room on the disk. */
  unavailable: 4,
  /** As refused, but it may be carried out yet: the same request may be made again, and is carried out once. */
  uncertain: 5,
} as const;
export type Outcome = (typeof outcomes)[keyof typeof outcomes];

const counter = z.number().int().min(0);
const moduleName = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/);
const outcome = z.union([z.literal(0), z.literal(1), z.literal(2), z.literal(3), z.literal(4), z.literal(5)]);

const schemas = {
  write: z.tuple([z.literal(16), counter.min(1), counter, moduleName, z.unknown()]),
  written: z.tuple([z.literal(17), counter, outcome, z.unknown(), counter]),
  read: z.tuple([z.literal(18), counter, moduleName, z.unknown()]),
  answer: z.tuple([z.literal(19), counter, outcome, z.unknown(), counter]),
  follow: z.tuple([z.literal(20), counter, moduleName, z.unknown()]),
  event: z.tuple([z.literal(21), counter, z.unknown()]),
  ended: z.tuple([z.literal(22), counter, outcome, z.string()]),
  unfollow: z.tuple([z.literal(23), counter]),
};

/** Fields of a message by its number, checked. Throws Malformed. */
export function readClientMessage<K extends keyof typeof schemas>(
  kind: K,
  fields: Fields,
): z.infer<(typeof schemas)[K]> {
  const result = schemas[kind].safeParse(fields);
  if (!result.success) throw new Malformed(`${kind}: ${result.error.issues[0]?.message ?? "wrong"}`);
  return result.data as z.infer<(typeof schemas)[K]>;
}
