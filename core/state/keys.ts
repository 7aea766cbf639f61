/** Keys that the answer of a query depends on, as `OpenModule.keysOf` gives them, or their buckets. */

export function isSame<Key>(keys: readonly Key[], others: readonly Key[] | null): boolean {
  return others !== null && keys.length === others.length && keys.every((key, i) => key === others[i]);
}
