/** The controllers in the simulator; `npm run sim` runs many more seeds. */
import { expect, test } from "bun:test";
import { runControl } from "./control/scenario.ts";
import { runSeeds, unrepeatable } from "./harness/seeds.ts";
import { SimulationFailed } from "./harness/simulation.ts";
import { suites } from "./suites.ts";

const suite = suites["control"]!;

test("200 seeds keep every promise, meet every hard case, and go the same way twice", () => {
  const result = runSeeds(suite, 1, 200);
  expect(result.failures.map((failure) => failure.message)).toEqual([]);
  expect(result.missing).toEqual([]);
  expect(result.hashes.size).toBe(200);
  expect(new Set(result.hashes.values()).size).toBe(200);
  expect(unrepeatable(suite, result.hashes, 20)).toEqual([]);
}, 120_000);

test("a deposed leader whose transactions do not compare the leader's key is found out", () => {
  const found = Array.from({ length: 100 }, (_, i) => i + 1).some((seed) => {
    try {
      runControl(seed, { mutant: "no leader compare" });
      return false;
    } catch (e) {
      return e instanceof SimulationFailed && /changed the store while/.test(e.message);
    }
  });
  expect(found).toBe(true);
}, 60_000);
