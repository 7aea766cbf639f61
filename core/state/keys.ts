/** Keys that the answer of a query depends on, as `OpenModule.keysOf` gives them. */

export function isSame(keys: readonly string[], others: readonly string[] | null): boolean {
  return others !== null && keys.length === others.length && keys.every((key, i) => key === others[i]);
}
