/** Conditional requests, in the order that RFC 9110 section 13.2.2 demands. */
import { parseHttpDate } from "./http-date.ts";

/** What a representation is compared by. */
export interface Validators {
  /** Strong, with its quotes. */
  etag: string;
  /** Milliseconds, whole seconds; null where the file has no date. */
  modifiedMs: number | null;
}

/** Whether any header asks for more than the plain 200: on the way that must be short. */
export function isConditional(headers: Headers): boolean {
  return (
    headers.has("if-none-match") ||
    headers.has("range") ||
    headers.has("if-modified-since") ||
    headers.has("if-match") ||
    headers.has("if-unmodified-since")
  );
}

/** `notModified` becomes 304, `failed` 412. For GET and HEAD. */
export function evaluate(
  headers: Headers,
  validators: Validators,
  nowMs: number,
): "pass" | "notModified" | "failed" {
  const { etag, modifiedMs } = validators;
  const ifMatch = headers.get("if-match");
  if (ifMatch !== null) {
    if (!listHas(ifMatch, etag, false)) return "failed";
  } else {
    const since = dateOf(headers.get("if-unmodified-since"), nowMs);
    if (since !== null && modifiedMs !== null && modifiedMs > since) return "failed";
  }
  const ifNoneMatch = headers.get("if-none-match");
  if (ifNoneMatch !== null) return listHas(ifNoneMatch, etag, true) ? "notModified" : "pass";
  const since = dateOf(headers.get("if-modified-since"), nowMs);
  return since !== null && modifiedMs !== null && modifiedMs <= since ? "notModified" : "pass";
}

/** Whether a Range header counts: there is no If-Range, or it names exactly this representation. */
export function ifRangeHolds(headers: Headers, validators: Validators, nowMs: number): boolean {
  const ifRange = headers.get("if-range");
  if (ifRange === null) return true;
  if (ifRange.startsWith('"')) return ifRange === validators.etag;
  const date = dateOf(ifRange, nowMs);
  return date !== null && date === validators.modifiedMs;
}

/** Entity tags of a list; a weak one never equals ours where the comparison is strong. */
export function listHas(list: string, etag: string, weak: boolean): boolean {
  if (list.trim() === "*") return true;
  for (const [tag] of list.matchAll(/(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g)) {
    if (tag === etag || (weak && tag === `W/${etag}`)) return true;
  }
  return false;
}

function dateOf(text: string | null, nowMs: number): number | null {
  return text === null ? null : parseHttpDate(text.trim(), nowMs);
}
