/**
 * One run of a simulated instance: kernels join, their processes talk while everything fails, then all is healed and
 * every call must come to its end.
 */
import { Simulation, SimulationFailed } from "../harness/simulation.ts";
import { KernelFaults, populate, strikes } from "./faults.ts";
import { checkBounds, checkHolders, checkInvariants, checkLeases, checkNames } from "./invariants.ts";
import { KernelWorld } from "./kernel-world.ts";
import { show } from "./ledger.ts";

const chaosMs = 6_000;
const talkMs = 60_000;
const healMs = 20_000;
/** Each seed is worth its time. */
const takenMin = 5_000;
const faultsMin = 5;
/** As long as a seed may go on failing, for faults and for messages. */
const roundsMax = 10;
const busyRoundsMax = 3;

/** What each set of seeds must have met at least once. */
export const kernelHardCases: string[] = [
  ...Object.keys(strikes),
  ...["OK", "TIMED_OUT", "CANCELLED", "OUTCOME_UNKNOWN", "DIED", "NOT_BOUND"].map((end) => `outcome:${end}`),
  ...["kernel:freeze", "kernel:thaw", "kernel:exit"],
  ...["removed:lease", "removed:exit-certificate", "removed:left"],
  ...["record:refused", "record:grantor", "log:proposal lost", "log:answer lost"],
  ...["move:moved source", "move:moved destination", "move:aborted source", "move:aborted destination"],
  ...["move:declined", "move:aborted by its source", "move:aborted after the offer", "backup:promoted"],
  ...["message:miss", "message:settled", "message:audited", "message:notified", "message:flushed"],
  ...["copy:done", "reply:not waiting", "notifications:all taken", "link:resumed"],
];

export function runKernels(seed: number, options: { sink?: (line: string) => void } = {}): Simulation {
  const sim = new Simulation(seed, options.sink);
  const world = new KernelWorld(sim);
  const faults = new KernelFaults(world);
  let steps = 0;
  let changes = -1;
  sim.invariant = () => {
    checkInvariants(world);
    if (world.changes !== changes || steps % 20 === 0) checkHolders(world);
    changes = world.changes;
    if (steps++ % 100 === 0) checkBounds(world);
  };
  const { onOrdered } = world.log;
  world.log.onOrdered = (record, change) => {
    onOrdered(record, change);
    checkLeases(world);
    checkNames(world);
  };
  try {
    for (let i = sim.random.integer(3, 5); i > 0; i--) populate(world.addKernel());
    sim.run(sim.random.between(0, 600));
    faults.begin();
    const { ledger } = world;
    // Some seeds do little: they go on until they have done enough, in the end without faults.
    const isEnough = (round: number) =>
      faults.struck >= faultsMin && (ledger.taken >= takenMin || round >= busyRoundsMax);
    for (let round = 0; round < roundsMax && !(round > 0 && isEnough(round)); round++) sim.run(chaosMs);
    faults.heal();
    sim.runUntil(() => ledger.taken >= takenMin, talkMs);
    world.talking = false;
    sim.run(3_000);
    if (!sim.runUntil(() => unsettled(world) === null, healMs)) {
      throw new Error(`${healMs / 1_000} s after everything was healed: ${unsettled(world)}`);
    }
    if (ledger.taken < takenMin) throw new Error(`only ${ledger.taken} messages were taken`);
    if (faults.struck < faultsMin) throw new Error(`only ${faults.struck} faults`);
    ledger.checkNotifications();
    sim.log(`settled, ${ledger.taken} messages taken`);
  } catch (e) {
    throw new SimulationFailed(sim, e);
  }
  return sim;
}

/** What is left undone, or null. */
function unsettled(world: KernelWorld): string | null {
  for (const { machine, host } of world.running()) {
    if (!world.log.truth.members.has(machine.id)) return `${host.id} is not in the view`;
    if (machine.frozen) return `${host.id} is frozen`;
    if (machine.moves.outgoing.size + machine.moves.incoming.size > 0)
      return `${host.id} has a move under way`;
    if (machine.proposals.pending > 0) return `${host.id} has ${machine.proposals.pending} proposals`;
  }
  for (const [kernel] of world.log.truth.members) {
    if (!world.running().some(({ machine }) => machine.id === kernel))
      return `${kernel} has gone and is a member`;
  }
  for (const { machine, host, actors } of world.running()) {
    for (const { proc, name } of actors.values()) {
      if (proc.mailbox.length + proc.open.length > 0) return `${name} has messages`;
      if (proc.underWay + proc.away.size > 0) return `${name} has calls`;
      if (proc.notifications.size > 0) return `${name} has notifications`;
      if (proc.detour) return `${name} is behind its older calls`;
    }
    for (const outlet of machine.peers.outlets.values()) {
      if (!outlet.isIdle) return `${host.id} has calls to ${outlet.endpoint} ${outlet.phase}`;
    }
    if (machine.copies.streams.size > 0) return `${host.id} has copies under way`;
  }
  const [open] = world.ledger.open();
  return open ? `${show(open)} has no outcome` : null;
}
