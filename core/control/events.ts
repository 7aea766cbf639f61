/**
 * Events for people. They ride in the transaction that makes the change they tell of, so that none is told twice or
 * of something that did not happen. How many are kept is the coordinator's business. Pure machine.
 */
import { type EventRecord, keys } from "../records.ts";
import type { Operation } from "../store/store.ts";

/** What makes an event's key and time: a random id, and the wall clock. */
export interface EventStamp {
  id: string;
  wallMs: number;
}

export interface EventWords {
  type: EventRecord["type"];
  /** `instance/web`, `node/n1`. */
  subject: string;
  /** One word: `Established`. */
  reason: string;
  message: string;
}

/** The put of an event. Keys sort by time; the id keeps events of one millisecond apart. */
export function eventOperation({ id, wallMs, ...words }: EventStamp & EventWords): Operation {
  const at = isoTime(wallMs);
  const record: EventRecord = { at, ...words };
  return { type: "put", key: `${keys.events}${at}-${id}`, value: JSON.stringify(record) };
}

/** Sorts as text like the times do (years 0 to 9999). */
export function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
