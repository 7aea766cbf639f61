/** A body that many responses share. */
import { isBun } from "./runtime.ts";

export interface SharedBody {
  readonly size: number;
  readonly whole: BodyInit;
  /** Bytes [start, end), without a copy. */
  part(start: number, end: number): BodyInit;
}

/**
 * Content in memory to answer many requests with. Bun copies an array into each response and shares a Blob; Deno
 * shares the array and turns a Blob into a stream.
 */
export function sharedBody(bytes: Uint8Array<ArrayBuffer>): SharedBody {
  const size = bytes.length;
  if (!isBun) return { size, whole: bytes, part: (start, end) => bytes.subarray(start, end) };
  const blob = new Blob([bytes]);
  return { size, whole: blob, part: (start, end) => blob.slice(start, end) };
}
