/** Keys are told apart by buckets where it is asked whether a read is clean: the same for all who ask. */
import { keyBuckets } from "../replica/timings.ts";

/** FNV-1a of each key's UTF-16 units. */
export function bucketsOf(keys: readonly string[]): number[] {
  return keys.map((key) => {
    let hash = 0x811c9dc5;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    return (hash >>> 0) % keyBuckets;
  });
}
