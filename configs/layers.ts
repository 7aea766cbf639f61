/**
 * Several sources of one configuration, the later beating the earlier: defaults < file < environment < flags.
 * Objects are merged key by key, everything else is replaced as a whole. Each value remembers its source, so that
 * a mistake is told where somebody has to mend it.
 */

export interface Layer {
  value: unknown;
  /** What a path is called in this source: `web.yaml:4 nodes`, `DVS_INSTANCE_NODES`, `--nodes`. */
  name(path: readonly PropertyKey[]): string;
}

export interface Merged {
  value: unknown;
  /** Where the value at a path came from; without a source of its own, the nearest around it; else the path. */
  name(path: readonly PropertyKey[]): string;
}

export function merge(layers: readonly Layer[]): Merged {
  const present = layers.filter((l) => l.value !== undefined && l.value !== null);
  return {
    value: present.reduce<unknown>((below, layer) => mergeValues(below, layer.value), {}),
    name(path) {
      for (let n = path.length; n > 0; n--) {
        const part = path.slice(0, n);
        const layer = present.findLast((l) => has(l.value, part));
        if (layer) return layer.name(path);
      }
      // A value that is missing: the first source is the place to write it.
      return present[0]?.name(path) ?? path.map(String).join(".");
    },
  };
}

function mergeValues(below: unknown, above: unknown): unknown {
  if (!isObject(below) || !isObject(above)) return above;
  const merged: Record<string, unknown> = { ...below };
  for (const [key, value] of Object.entries(above)) {
    if (value !== undefined)
      define(merged, key, Object.hasOwn(merged, key) ? mergeValues(merged[key], value) : value);
  }
  return merged;
}

/** As `object[key] = value`, also for a key `__proto__`. */
export function define(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function has(value: unknown, path: readonly PropertyKey[]): boolean {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return false;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at !== undefined;
}
