/**
 * What a client of the OS state (a container, or an agent for somebody at a terminal) and a replica's state process say
 * to each other, over a link of core/state/link. Any replica takes any of them: it hands a write on to the primary.
 *
 *     write    sequence, ackedBelow, module, operation     → written   sequence, outcome, value, index
 *     read     ticket, module, query                       → answer    ticket, outcome, value, index
 *     follow   ticket, module, query                       → event     ticket, value …, then ended
 *     unfollow ticket
 *     sync     ticket                                      → answer    ticket, outcome, value, index
 *
 * A client's name is the incarnation in its hello. A write that is sent again, to whomever, is carried out once: its
 * result is kept until `ackedBelow` of the same client is above its sequence.
 */
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
  sync: 24,
} as const;

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

/** Fields as they come, by the name of the message. */
interface Messages {
  write: [number: 16, sequence: number, ackedBelow: number, module: string, operation: unknown];
  written: [number: 17, sequence: number, outcome: Outcome, value: unknown, index: number];
  read: [number: 18, ticket: number, module: string, query: unknown];
  answer: [number: 19, ticket: number, outcome: Outcome, value: unknown, index: number];
  follow: [number: 20, ticket: number, module: string, query: unknown];
  event: [number: 21, ticket: number, value: unknown];
  ended: [number: 22, ticket: number, outcome: Outcome, why: string];
  unfollow: [number: 23, ticket: number];
  sync: [number: 24, ticket: number];
}

type Check = (value: unknown) => boolean;
const moduleForm = /^[a-z][a-z0-9-]{0,31}$/;
const counter: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const positive: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 1;
const moduleName: Check = (value) => typeof value === "string" && moduleForm.test(value);
const outcome: Check = (value) => counter(value) && (value as number) <= outcomes.uncertain;
const text: Check = (value) => typeof value === "string";
const anything: Check = () => true;

/** By hand, since each write and each read passes them twice. What follows the number. */
const checks: Record<keyof Messages, readonly Check[]> = {
  write: [positive, counter, moduleName, anything],
  written: [counter, outcome, anything, counter],
  read: [counter, moduleName, anything],
  answer: [counter, outcome, anything, counter],
  follow: [counter, moduleName, anything],
  event: [counter, anything],
  ended: [counter, outcome, text],
  unfollow: [counter],
  sync: [counter],
};

/** Fields of a message by its number, checked. Throws Malformed. */
export function readClientMessage<K extends keyof Messages>(kind: K, fields: Fields): Messages[K] {
  const row = checks[kind];
  if (fields[0] !== clientNumbers[kind] || fields.length !== row.length + 1)
    throw new Malformed(`${kind}: ${fields.length} fields, the first ${String(fields[0])}`);
  for (let i = 0; i < row.length; i++) {
    if (!row[i]!(fields[i + 1])) throw new Malformed(`${kind}: its field ${i + 1}`);
  }
  return fields as unknown as Messages[K];
}
