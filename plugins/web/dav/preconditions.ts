/** Whether a request that writes may: RFC 9110 section 13 for PUT, DELETE and what else changes something. */
import { listHas } from "../conditions.ts";
import { parseHttpDate } from "../http-date.ts";
import { Refusal } from "./answer.ts";

export interface Current {
  /** Strong, with its quotes. */
  etag: string;
  /** Milliseconds, whole seconds. */
  modifiedMs: number;
}

/** Whether it matters what is there when the change is made. */
export function isGuarded(headers: Headers): boolean {
  return headers.has("if-match") || headers.has("if-none-match") || headers.has("if-unmodified-since");
}

/** Throws a Refusal with 412. `current` null: nothing is there. */
export function checkPreconditions(headers: Headers, current: Current | null): void {
  const failed = new Refusal(412);
  const ifMatch = headers.get("if-match");
  if (ifMatch !== null) {
    if (!current || !listHas(ifMatch, current.etag, false)) throw failed;
  } else {
    const header = headers.get("if-unmodified-since");
    const since = header === null ? null : parseHttpDate(header.trim(), Date.now());
    if (since !== null && current && current.modifiedMs > since) throw failed;
  }
  const ifNoneMatch = headers.get("if-none-match");
  if (ifNoneMatch !== null && current && listHas(ifNoneMatch, current.etag, true)) throw failed;
}
