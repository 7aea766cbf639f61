/**
 * What goes wrong in a simulated cluster, and when it stops going wrong. Each seed enables some of the faults only
 * (swarm testing): where everything fails at once, what needs a quiet minute to go wrong never does.
 */
import { calm } from "../harness/network.ts";
import { type Strike, Strikes } from "../harness/strikes.ts";
import type { ControlWorld, Mutant } from "./control-world.ts";
import type { SimMachine } from "./sim-machine.ts";
import { publishable } from "./users.ts";

/** What may strike, and how: each is counted by its name. */
export const strikes: Record<string, Strike<ControlWorld>> = {
  "machine:power cut": (world, later) => {
    const machine = anyMachine(world);
    if (!machine.host.running || machine.dismissed) return;
    machine.powerOff();
    later(world.sim.random.pick([1_000, 3_000, 12_000, 30_000]), () => {
      if (!machine.host.running) machine.powerOn();
    });
  },
  "machine:paused": (world, later) => {
    const machine = anyMachine(world);
    machine.pause();
    later(world.sim.random.pick([500, 3_000, 10_000]), () => machine.resume());
  },
  "agent:crash": (world, later) => {
    const machine = anyMachine(world);
    if (!machine.agent) return;
    machine.crashAgent();
    later(world.sim.random.pick([10, 1_000, 5_000]), () => {
      if (!machine.agent) machine.startAgent();
    });
  },
  "container:killed": (world) => {
    const machine = anyMachine(world);
    const [uid] = machine.containers.keys();
    if (uid !== undefined) machine.killContainer(uid);
  },
  "replica:killed": (world) => {
    const machine = anyMachine(world);
    const [uid] = machine.replicas.keys();
    if (uid !== undefined) machine.killReplica(uid);
  },
  "port:held by another program": (world, later) => {
    const { random } = world.sim;
    const machine = anyMachine(world);
    const free = publishable.filter((port) => !machine.openPorts.has(port));
    for (const port of random.sample(free, 3)) {
      machine.foreignPorts.add(port);
      later(random.pick([1_000, 8_000]), () => machine.foreignPorts.delete(port));
    }
  },
  "net:one-way partition": ({ sim, machines }, later) => {
    const everybody = ["c1", "c2", "store", ...machines.keys()];
    const [from, to] = sim.random.sample(everybody, 2) as [string, string];
    sim.network.cut(from, to);
    later(sim.random.pick([500, 6_000]), () => sim.network.mend(from, to));
  },
  "net:machine cut off": (world, later) => {
    const { network, random } = world.sim;
    const { id } = anyMachine(world);
    const links = ["c1", "c2"].flatMap((c): [string, string][] => [
      [id, c],
      [c, id],
    ]);
    for (const [from, to] of links) network.cut(from, to);
    later(random.pick([1_000, 3_000, 9_000]), () => {
      for (const [from, to] of links) network.mend(from, to);
    });
  },
  "coordinator:crash": ({ sim, coordinators }, later) => {
    const coordinator = sim.random.pick(coordinators);
    if (!coordinator.host.running) return;
    coordinator.crash();
    later(sim.random.pick([10, 1_000, 4_000]), () => {
      if (!coordinator.host.running) coordinator.start();
    });
  },
  "coordinator:paused": ({ sim, coordinators }, later) => {
    const coordinator = sim.random.pick(coordinators);
    coordinator.host.pause();
    later(sim.random.pick([300, 3_500, 6_000]), () => coordinator.host.resume());
  },
  "clock:wall clock set": (world) => {
    const { sim, coordinators } = world;
    const host = sim.random.pick([...coordinators, anyMachine(world)]).host;
    host.wallOffsetMs += sim.random.pick([-3_600_000, 3_600_000]);
  },
  "store:compacted": ({ store }) => store.compact(),
};

export class Faults {
  readonly #world: ControlWorld;
  readonly mutant: Mutant;
  readonly #strikes: Strikes<ControlWorld>;
  /** Of each of the faults around a controller's transaction. */
  #strikeChance = 0;

  constructor(world: ControlWorld, mutant: Mutant) {
    this.#world = world;
    this.mutant = mutant;
    this.#strikes = new Strikes(world);
  }

  begin(): void {
    const { random, network } = this.#world.sim;
    const enabled = Object.entries(strikes).filter(() => random.chance(0.5));
    this.#strikeChance = random.pick([0, 0.05, 0.25]);
    const meanMs = random.pick([500, 1_500, 4_000]);
    network.faults = {
      latencyMs: { min: 0.1, max: random.pick([1, 5, 40]) },
      loss: random.pick([0, 0.01, 0.1]),
      duplicate: random.pick([0, 0.05]),
      held: random.pick([0, 0.05]),
      heldMs: random.pick([100, 1_500]),
    };
    this.#strikes.begin(enabled, meanMs);
  }

  /** Everything works again, but for a machine that is off and stays so. */
  heal(): void {
    const { sim, coordinators, machines } = this.#world;
    this.#strikes.end();
    sim.log("heal");
    sim.network.faults = calm;
    sim.network.mendAll();
    for (const coordinator of coordinators) {
      coordinator.host.resume();
      if (!coordinator.host.running) coordinator.start();
    }
    for (const machine of machines.values()) {
      machine.foreignPorts.clear();
      machine.resume();
      if (!machine.host.running && !machine.dismissed) {
        machine.burnt = sim.random.chance(0.3);
        if (machine.burnt) sim.count("machine:burnt down");
        else machine.powerOn();
      } else if (!machine.agent) machine.startAgent();
    }
  }

  /** Whether this very step is hit. */
  strikes(what: string): boolean {
    const struck = this.#strikes.isActive && this.#world.sim.random.chance(this.#strikeChance);
    if (struck) this.#world.sim.count(what);
    return struck;
  }
}

function anyMachine({ sim, machines }: ControlWorld): SimMachine {
  return sim.random.pick([...machines.values()]);
}
