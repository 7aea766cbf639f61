/** Compares of a transaction, as etcd evaluates them. */
import type { Compare, KeyValue } from "./store.ts";

/**
 * A missing key counts as create, mod and version 0. It has no value at all: every compare of a value with it
 * fails, "!=" too.
 */
export function holds(compare: Compare, kv: KeyValue | null): boolean {
  if (compare.target === "value") {
    return kv !== null && ordered(compare.op, compareBytes(kv.value, compare.value));
  }
  const { createRevision = 0, modRevision = 0, version = 0 } = kv ?? {};
  const actual = { create: createRevision, mod: modRevision, version }[compare.target];
  return ordered(compare.op, actual - compare.value);
}

function ordered(op: Compare["op"], difference: number): boolean {
  switch (op) {
    case "=":
      return difference === 0;
    case "!=":
      return difference !== 0;
    case ">":
      return difference > 0;
    case "<":
      return difference < 0;
  }
}

const encoder = new TextEncoder();

/** Order of the UTF-8 bytes, which differs from JavaScript's order of code units beyond the basic plane. */
function compareBytes(a: string, b: string): number {
  if (a === b) return 0;
  const [x, y] = [encoder.encode(a), encoder.encode(b)];
  const shared = Math.min(x.length, y.length);
  for (let i = 0; i < shared; i += 1) {
    const difference = x[i]! - y[i]!;
    if (difference !== 0) return difference;
  }
  return x.length - y.length;
}
