/** Replicas of files in the simulator; `npm run sim -- --suite files` runs many more seeds. */
import { expect, test } from "bun:test";
import { runSeeds, unrepeatable } from "./harness/seeds.ts";
import { suites } from "./suites.ts";

test("14 seeds: all see files at one moment after the other, whatever fails; bytes and states agree, and it goes the same way twice", () => {
  const suite = suites["files"]!;
  const result = runSeeds(suite, 1, 14);
  expect(result.failures.map((failure) => failure.message)).toEqual([]);
  const kinds = suite.hardCases.filter((what) => /^(operation|query|read|segment|configuration):/.test(what));
  expect(kinds.filter((what) => !result.counts.get(what))).toEqual([]);
  expect(unrepeatable(suite, result.hashes, 1)).toEqual([]);
}, 900_000);
