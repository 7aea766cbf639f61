/** What goes wrong in a simulated cluster, and when it stops going wrong. */
import { calm } from "../harness/network.ts";
import type { ControlWorld, Mutant } from "./control-world.ts";

/** Chance that one of the faults around a controller's transaction strikes. */
const strikeChance = 0.08;

export class Faults {
  readonly #world: ControlWorld;
  readonly mutant: Mutant;
  #active = false;

  constructor(world: ControlWorld, mutant: Mutant) {
    this.#world = world;
    this.mutant = mutant;
  }

  begin(): void {
    const { random, network } = this.#world.sim;
    this.#active = true;
    network.faults = {
      latencyMs: { min: 0.1, max: random.pick([1, 5, 40]) },
      loss: random.pick([0, 0.01, 0.1]),
      duplicate: random.pick([0, 0.05]),
      held: random.pick([0, 0.05]),
      heldMs: random.pick([100, 1_500]),
    };
    this.#next();
  }

  /** Everything works again; what is dead stays dead only if nobody wants it. */
  heal(): void {
    const { sim, coordinators, machines } = this.#world;
    this.#active = false;
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
      if (!machine.host.running && !machine.dismissed) machine.powerOn();
      else if (!machine.agent) machine.startAgent();
    }
  }

  strikes(what: string): boolean {
    const struck = this.#active && this.#world.sim.random.chance(strikeChance);
    if (struck) this.#world.sim.count(what);
    return struck;
  }

  #next(): void {
    const { sim } = this.#world;
    sim.after(sim.random.between(50, 1_500), () => {
      if (!this.#active) return;
      this.#strike();
      this.#next();
    });
  }

  #strike(): void {
    const { sim, coordinators, machines, store } = this.#world;
    const { random, network } = sim;
    const machine = random.pick([...machines.values()]);
    const coordinator = random.pick(coordinators);
    switch (random.integer(0, 11)) {
      case 0:
      case 1:
        if (!machine.host.running || machine.dismissed) return;
        sim.count("machine:power cut");
        machine.powerOff();
        this.#later(random.pick([1_000, 3_000, 12_000]), () => {
          if (!machine.host.running) machine.powerOn();
        });
        return;
      case 2:
        sim.count("machine:paused");
        machine.pause();
        this.#later(random.pick([500, 3_000, 10_000]), () => machine.resume());
        return;
      case 3:
        if (!machine.agent) return;
        sim.count("agent:crash");
        machine.crashAgent();
        this.#later(random.pick([10, 1_000, 5_000]), () => {
          if (!machine.agent) machine.startAgent();
        });
        return;
      case 4: {
        const uid = [...machine.containers.keys()][0];
        if (uid === undefined) return;
        sim.count("container:killed");
        machine.killContainer(uid);
        return;
      }
      case 5: {
        const ports = [80, 81, 82, 83, 84, 85, 86, 87].filter((port) => !machine.openPorts.has(port));
        sim.count("port:held by another program");
        for (const port of random.sample(ports, 3)) {
          machine.foreignPorts.add(port);
          this.#later(random.pick([1_000, 8_000]), () => machine.foreignPorts.delete(port));
        }
        return;
      }
      case 6: {
        const everybody = ["c1", "c2", "store", ...machines.keys()];
        const [from, to] = random.sample(everybody, 2) as [string, string];
        sim.count("net:one-way partition");
        network.cut(from, to);
        this.#later(random.pick([500, 6_000]), () => network.mend(from, to));
        return;
      }
      case 7: {
        sim.count("net:machine cut off");
        const others = ["c1", "c2"];
        for (const other of others) {
          network.cut(machine.id, other);
          network.cut(other, machine.id);
        }
        this.#later(random.pick([1_000, 3_000, 9_000]), () => {
          for (const other of others) {
            network.mend(machine.id, other);
            network.mend(other, machine.id);
          }
        });
        return;
      }
      case 8:
        if (!coordinator.host.running) return;
        sim.count("coordinator:crash");
        coordinator.crash();
        this.#later(random.pick([10, 1_000, 4_000]), () => {
          if (!coordinator.host.running) coordinator.start();
        });
        return;
      case 9:
        sim.count("coordinator:paused");
        coordinator.host.pause();
        this.#later(random.pick([300, 3_500, 6_000]), () => coordinator.host.resume());
        return;
      case 10: {
        const host = random.pick([coordinator.host, machine.host]);
        sim.count("clock:wall clock set");
        host.wallOffsetMs += random.pick([-3_600_000, 3_600_000]);
        return;
      }
      case 11:
        store.compact();
        return;
    }
  }

  #later(meanMs: number, run: () => void): void {
    const { sim } = this.#world;
    sim.after(sim.random.between(0.5, 1.5) * meanMs, () => {
      if (this.#active) run();
    });
  }
}
