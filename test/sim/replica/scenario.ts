/**
 * One run of a simulated instance with replicated state: clients write, compare and read at every replica while
 * everything fails; then all is healed, service must come back, the replicas must agree, and the history of what the
 * clients saw must be linearizable.
 */
import { Simulation, SimulationFailed } from "../harness/simulation.ts";
import { ReplicaFaults, strikes } from "./faults.ts";
import { checkReplicas } from "./invariants.ts";
import { KvLoad } from "./kv-load.ts";
import type { Load } from "./load.ts";
import { ReplicaWorld } from "./replica-world.ts";

const chaosMs = 8_000;
/** After everything was healed. */
const healMs = 20_000;
/** Each seed is worth its time. */
const messagesMin = 5_000;
const faultsMin = 5;

/** What each set of seeds must have met at least once. */
export const replicaHardCases: string[] = [
  ...Object.keys(strikes),
  ...["role:primary", "role:promoting", "role:backup", "role:learner"],
  ...["configuration:promotion", "configuration:removal", "configuration:join"],
  ...["change:done", "change:refused", "change:unknown"],
  ...[
    "read:backup",
    "read:primary",
    "read:beside",
    "refused:older epoch",
    "restart:amnesiac",
    "restart:from snapshot",
  ],
  ...["snapshot:installed", "answer:from a session", "log:torn tail", "log:cut", "log:full"],
  ...["client:unknown outcome", "client:unknown outcome of a compare-and-set", "client:write asked again"],
  ...["damage:found while running", "damage:repaired in place", "damage:given to a snapshot"],
  ...["damage:at rest", "damage:at the start, in the database", "damage:at the start, an amnesiac"],
  ...["snapshot:found damaged", "snapshot:damaged at the start", "disk:replaced as damaged"],
  ...["level:raised to 3", "level:of several versions", "level:too old to go on"],
  ...["loss:accepted", "loss:records"],
  ...["disk:hung", "disk:replaced", "control:rolled back", "link:broken"],
];

export function runReplicas(seed: number, options: { sink?: (line: string) => void } = {}): Simulation {
  const sim = new Simulation(seed, options.sink);
  runLoad(sim, (world) => new KvLoad(world));
  return sim;
}

/** Throws SimulationFailed. */
export function runLoad(sim: Simulation, load: (world: ReplicaWorld) => Load): void {
  const world = new ReplicaWorld(sim, load);
  const faults = new ReplicaFaults(world);
  sim.invariant = () => {
    world.load.stepped();
    checkReplicas(world);
  };
  try {
    for (const node of world.nodes) if (node.isWanted) node.start();
    if (!sim.runUntil(() => world.serving !== undefined, healMs)) throw new Error("no primary ever served");
    for (const client of world.clients) client.start();
    sim.run(sim.random.between(0, 500));
    faults.begin();
    for (let round = 0; round < 3; round++) {
      sim.run(chaosMs);
      if (world.messages >= messagesMin && faults.struck >= faultsMin) break;
    }
    faults.heal();
    // Beyond what is due to leases and lost answers.
    if (!sim.runUntil(() => unhealed(world) === null, healMs)) {
      throw new Error(`${healMs / 1_000} s after everything was healed: ${unhealed(world)}`);
    }
    const before = world.ledger.acknowledged;
    if (!sim.runUntil(() => world.ledger.acknowledged > before + 20, healMs)) {
      throw new Error(`no progress ${healMs / 1_000} s after everything was healed`);
    }
    // Where little could be done, the rest is done in peace.
    sim.runUntil(() => world.messages >= messagesMin, 10 * healMs);
    for (const client of world.clients) client.stop();
    if (!sim.runUntil(() => unsettled(world) === null, healMs)) {
      throw new Error(`${healMs / 1_000} s after the last call: ${unsettled(world)}`);
    }
    if (world.messages < messagesMin || faults.struck < faultsMin) {
      throw new Error(`only ${world.messages} messages and ${faults.struck} faults`);
    }
    const wrong = world.load.violation();
    if (wrong !== null) throw new Error(wrong);
    sim.log(`settled: ${world.ledger.committed} records, ${world.load.calls} calls`);
  } catch (e) {
    for (const { host, process, isOn } of world.nodes)
      sim.log(`${host.id} ${isOn ? "" : "off "}${process?.status ?? "does not run"}`);
    throw new SimulationFailed(sim, e);
  }
}

/** Why service is not what was asked for, or null. */
function unhealed(world: ReplicaWorld): string | null {
  const { serving, control, nodes } = world;
  if (!serving) return "no primary serves";
  const { inSync } = control.truth.configuration!;
  for (const node of nodes) {
    if (node.isWanted && !inSync.includes(node.disk))
      return `${node.host.id} is not in sync, but ${node.role}`;
    if (!node.isWanted && inSync.includes(node.disk)) return `${node.host.id} is in sync and not wanted`;
    if (node.isWanted && !node.process?.serves) return `${node.host.id} does not serve, as ${node.role}`;
  }
  return null;
}

/** What is left undone, or in what the replicas differ; null when they are one. */
function unsettled(world: ReplicaWorld): string | null {
  if (!world.clients.every((client) => client.idle)) return "clients wait for answers";
  const problem = unhealed(world);
  if (problem !== null) return problem;
  const [first, ...others] = world.nodes.filter((node) => node.isWanted);
  const states = [first!, ...others].map(({ process }) => process!.state);
  const underWay = world.load.unsettled(states);
  if (underWay !== null) return underWay;
  const digest = first!.process!.state.digest();
  for (const other of others) {
    const { state } = other.process!;
    if (state.digest() !== digest)
      return `${other.host.id} has ${state.digest()}, ${first!.host.id} ${digest}`;
  }
  return null;
}
