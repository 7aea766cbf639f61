/**
 * Results of one client behind one another, as its row has them:
 *
 *   0  u48  sequence      12  u16  bytes of the result
 *   6  u48  record        14       the result
 */
import { getUint48, setUint48 } from "../log/frame.ts";

export interface KeptResult {
  sequence: number;
  result: Uint8Array;
  /** Of the record. */
  index: number;
}

const headBytes = 14;

export function keptBytes({ result }: KeptResult): number {
  return headBytes + result.length;
}

export function encodeResults(results: readonly KeptResult[]): Uint8Array {
  let length = 0;
  for (const each of results) length += keptBytes(each);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { sequence, result, index } of results) {
    setUint48(view, at, sequence);
    setUint48(view, at + 6, index);
    view.setUint16(at + 12, result.length, true);
    bytes.set(result, at + headBytes);
    at += headBytes + result.length;
  }
  return bytes;
}

/** Of bytes of the database, whose pages SQLite has checked: throws RangeError where they end too early. */
export function decodeResults(bytes: Uint8Array | null): KeptResult[] {
  const results: KeptResult[] = [];
  if (bytes === null) return results;
  // A copy: what SQLite gives may be a view of its memory.
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  for (let at = 0; at < copy.length;) {
    const length = view.getUint16(at + 12, true);
    const end = at + headBytes + length;
    if (end > copy.length) throw new RangeError("results of a session are cut off");
    const result = copy.subarray(at + headBytes, end);
    results.push({ sequence: getUint48(view, at), result, index: getUint48(view, at + 6) });
    at = end;
  }
  return results;
}
