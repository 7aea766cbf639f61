/** Replicas in the simulator; `npm run sim -- --suite replica` runs many more seeds. */
import { expect, test } from "bun:test";
import { runSeeds, unrepeatable } from "./harness/seeds.ts";
import { suites } from "./suites.ts";

test("30 seeds lose nothing, serve by one primary, read the latest at every replica, agree, and go the same way twice", () => {
  const suite = suites["replica"]!;
  const result = runSeeds(suite, 1, 30);
  expect(result.failures.map((failure) => failure.message)).toEqual([]);
  for (const what of [
    "configuration:promotion",
    "configuration:removal",
    "configuration:join",
    "read:backup",
  ])
    expect(result.counts.get(what)).toBeGreaterThan(0);
  expect(unrepeatable(suite, result.hashes, 3)).toEqual([]);
}, 120_000);
