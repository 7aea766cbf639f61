/** Kernels of one instance in the simulator; `npm run sim -- --suite kernel` runs many more seeds. */
import { expect, test } from "bun:test";
import { runSeeds, unrepeatable } from "./harness/seeds.ts";
import { suites } from "./suites.ts";

test("15 seeds end each call once and truthfully, have no endpoint twice, meet every hard case, and go the same way twice", () => {
  const suite = suites["kernel"]!;
  const result = runSeeds(suite, 1, 15);
  expect(result.failures.map((failure) => failure.message)).toEqual([]);
  expect(result.missing).toEqual([]);
  expect(unrepeatable(suite, result.hashes, 3)).toEqual([]);
}, 120_000);
