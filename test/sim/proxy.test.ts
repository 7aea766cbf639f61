/** The proxies in the simulator; `npm run sim -- --suite proxy` runs many more seeds. */
import { expect, test } from "bun:test";
import { runSeeds, unrepeatable } from "./harness/seeds.ts";
import { suites } from "./suites.ts";

test("25 seeds lose, double and reorder nothing, keep their bounds, meet every hard case, and go the same way twice", () => {
  const suite = suites["proxy"]!;
  const result = runSeeds(suite, 1, 25);
  expect(result.failures.map((failure) => failure.message)).toEqual([]);
  expect(result.missing).toEqual([]);
  expect(result.counts.get("delivered")).toBeGreaterThan(25 * 5_000);
  expect(unrepeatable(suite, result.hashes, 3)).toEqual([]);
}, 120_000);
