/** A bounded run; `bun test/core/kernel/proxy/fuzz.ts --cases 1000000` makes a long one. */
import { test } from "bun:test";
import * as fc from "fast-check";
import { properties } from "./fuzz.ts";

for (const { name, share, property } of properties) {
  test(name, () => fc.assert(property, { numRuns: Math.ceil(8_000 * share) }), 60_000);
}
