/** Random names for what the coordinator makes. */
import { randomBytes } from "node:crypto";
import type { EventStamp } from "../control/events.ts";

/** Names the event of one request. */
export function eventStamp(): EventStamp {
  return { id: randomId(), wallMs: Date.now() };
}

/** 96 bits in hex. */
export function randomId(): string {
  return randomBytes(12).toString("hex");
}
