/** Runs a suite over many seeds and adds up what they met. */
import type { Suite } from "../suites.ts";
import { SimulationFailed } from "./simulation.ts";

export interface SeedsResult {
  runs: number;
  steps: number;
  failures: SimulationFailed[];
  counts: Map<string, number>;
  /** Hard cases that no seed met. */
  missing: string[];
  hashes: Map<number, string>;
}

export function runSeeds(suite: Suite, firstSeed: number, count: number): SeedsResult {
  const result: SeedsResult = {
    runs: 0,
    steps: 0,
    failures: [],
    counts: new Map(),
    missing: [],
    hashes: new Map(),
  };
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    result.runs++;
    try {
      const sim = suite.run(seed);
      result.steps += sim.scheduler.steps;
      result.hashes.set(seed, sim.trace.hash());
      for (const [what, times] of sim.counts) {
        result.counts.set(what, (result.counts.get(what) ?? 0) + times);
      }
    } catch (e) {
      if (!(e instanceof SimulationFailed)) throw e;
      result.failures.push(e);
    }
  }
  result.missing = suite.hardCases.filter((what) => !result.counts.get(what));
  return result;
}

/** Seeds whose second run left another trace than the first: something in it is not a function of the seed. */
export function unrepeatable(suite: Suite, hashes: ReadonlyMap<number, string>, count: number): number[] {
  return [...hashes].slice(0, count).flatMap(([seed, hash]) => {
    return suite.run(seed).trace.hash() === hash ? [] : [seed];
  });
}
