/**
 * The controllers under test: the real Controller on two coordinators that compete, and one run of them. A cluster is set up, people work on it while everything fails, then all is
 * healed and must come to rest.
 */
import { Simulation, SimulationFailed } from "../harness/simulation.ts";
import { ControlWorld, type Mutant } from "./control-world.ts";
import { unconverged } from "./convergence.ts";
import { strikes } from "./faults.ts";

const chaosMs = 25_000;
const healMs = 60_000;

/** What each set of seeds must have met at least once: else it has not tried what it claims to. */
export const controlHardCases: string[] = [
  ...["place", "establish", "rollback", "delete", "node-remove"].flatMap((kind) => [
    `crash before ${kind}`,
    `crash after ${kind}`,
    `lost answer of ${kind}`,
    `refused ${kind}`,
  ]),
  "conflict:place",
  "conflict:establish",
  "conflict:delete",
  "rollback:container",
  "rollback:port",
  "move:replaced a lost node",
  "move:drained",
  "move:overlap of a drain",
  "leader:changed",
  "leader:judged stale",
  "leader:deposed one refused",
  "agent:adopted a container",
  "agent:refused an older Desired",
  "watch:compacted",
  "asked:node rm",
  "asked:leave",
  "asked:undrain",
  "condition:unschedulable",
  "condition:node-down",
  "condition:port",
  "machine:burnt down",
  "net:duplicated",
  "net:lost",
  "net:held",
  "replica:took over",
  "replica:replaced a gone one",
  "replica:moved off a draining node",
  "replica:stopped and kept",
  "replica:started again on its data",
  "replica:data removed",
  ...Object.keys(strikes),
];

export function runControl(
  seed: number,
  options: { sink?: (line: string) => void; mutant?: Mutant } = {},
): Simulation {
  const sim = new Simulation(seed, options.sink);
  const world = new ControlWorld(sim, options.mutant);
  try {
    for (const coordinator of world.coordinators) coordinator.start();
    for (let i = sim.random.integer(3, 5); i > 0; i--) world.users.join();
    sim.run(sim.random.between(0, 3_000));
    world.users.work();
    world.faults.begin();
    sim.run(chaosMs);
    world.users.rest();
    world.faults.heal();
    // Beyond every timer that decides: leadership, nodes down, replacement.
    sim.run(8_000);
    if (!sim.runUntil(() => unconverged(world) === null, healMs)) {
      throw new Error(`not converged ${healMs / 1_000} s after everything was healed: ${unconverged(world)}`);
    }
    for (const uid of world.invariants.promised()) {
      const rolledBack = !world.store.range("/t/").some((kv) => kv.value.includes(`"uid":"${uid}"`));
      if (rolledBack) throw new Error(`created instance ${uid} was lost`);
    }
    sim.log("converged");
  } catch (e) {
    throw new SimulationFailed(sim, e);
  }
  return sim;
}
