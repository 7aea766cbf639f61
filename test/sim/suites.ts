/** What the simulator can run. A new machine under test is a scenario and a line here. */
import { controlHardCases, runControl } from "./control/scenario.ts";
import { filesHardCases, runFiles } from "./replica/files/scenario.ts";
import type { Simulation } from "./harness/simulation.ts";
import { kernelHardCases, runKernels } from "./kernel/scenario.ts";
import { proxyHardCases, runProxies } from "./proxy/scenario.ts";
import { replicaHardCases, runReplicas } from "./replica/scenario.ts";

export interface Suite {
  /** One run; throws SimulationFailed. */
  run(seed: number, options?: { sink?: (line: string) => void }): Simulation;
  /** Counts that must not be 0 over a set of seeds. */
  hardCases: readonly string[];
}

export const suites: Record<string, Suite> = {
  control: { run: runControl, hardCases: controlHardCases },
  files: { run: runFiles, hardCases: filesHardCases },
  kernel: { run: runKernels, hardCases: kernelHardCases },
  proxy: { run: runProxies, hardCases: proxyHardCases },
  replica: { run: runReplicas, hardCases: replicaHardCases },
};
