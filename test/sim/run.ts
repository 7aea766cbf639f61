/**
 * The simulator's command.
 *
 *   bun test/sim/run.ts [--suite control] [--seeds 200] [--from 1]   many runs, totals, exit code 1 on any failure
 *   bun test/sim/run.ts --seed 1234                                  one run with its whole trace
 */
import { parseArgs } from "node:util";
import { runSeeds, unrepeatable } from "./harness/seeds.ts";
import { SimulationFailed } from "./harness/simulation.ts";
import { type Suite, suites } from "./suites.ts";

const { values } = parseArgs({
  options: {
    suite: { type: "string" },
    seeds: { type: "string", default: "200" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
  },
});

const chosen = Object.entries(suites).filter(([name]) => values.suite === undefined || values.suite === name);
if (chosen.length === 0)
  throw new Error(`no suite ${values.suite}; there are: ${Object.keys(suites).join(", ")}`);
let failed = false;
for (const [name, suite] of chosen) {
  if (values.seed === undefined) many(name, suite, number(values.from), number(values.seeds));
  else one(suite, number(values.seed));
}
process.exitCode = failed ? 1 : 0;

function one(suite: Suite, seed: number): void {
  try {
    const sim = suite.run(seed, { sink: (line) => console.log(line) });
    console.log(`seed ${seed} passed, ${sim.scheduler.steps} steps, trace ${sim.trace.hash()}`);
  } catch (e) {
    if (!(e instanceof SimulationFailed)) throw e;
    console.log(e.message);
    failed = true;
  }
}

function many(name: string, suite: Suite, from: number, count: number): void {
  const result = runSeeds(suite, from, count);
  const counts = [...result.counts].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [what, times] of counts) console.log(`${String(times).padStart(8)}  ${what}`);
  for (const { message, sim } of result.failures) {
    console.log(`FAILED ${message}`);
    console.log(`  replay: bun test/sim/run.ts --suite ${name} --seed ${sim.seed}`);
  }
  for (const what of result.missing) console.log(`FAILED no seed met: ${what}`);
  const different = unrepeatable(suite, result.hashes, 20);
  for (const seed of different) console.log(`FAILED seed ${seed} went another way the second time`);
  failed ||= result.failures.length + result.missing.length + different.length > 0;
  const passed = result.runs - result.failures.length;
  console.log(`${name}: ${passed} of ${result.runs} seeds passed, ${result.steps} steps`);
}

function number(text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 0) throw new Error(`not a number: ${text}`);
  return n;
}
