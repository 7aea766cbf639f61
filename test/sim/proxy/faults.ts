/** What goes wrong between proxies. Each seed enables some of it only; each is counted by its name. */
import { calm } from "../harness/network.ts";
import { type Strike, Strikes } from "../harness/strikes.ts";
import type { ProxyWorld } from "./proxy-world.ts";

export const strikes: Record<string, Strike<ProxyWorld>> = {
  "connection broken": ({ sim, wires }, later) => {
    const wire = sim.random.pick(wires.slice(-20));
    // The other end learns of it when it next writes, or later.
    wire.cut();
    later(10, () => {});
  },
  "every connection broken": ({ wires }) => {
    for (const wire of wires.slice(-40)) wire.cut();
  },
  "one-way cut": (world, later) => {
    const { sim } = world;
    const [from, to] = sim.random.sample(world.living(), 2);
    if (!from || !to) return;
    sim.network.cut(from.host.id, to.host.id);
    later(sim.random.pick([100, 800, 4_000]), () => sim.network.mend(from.host.id, to.host.id));
  },
  "process stopped": (world, later) => {
    const { sim } = world;
    const kernel = sim.random.pick(world.living());
    kernel.host.pause();
    later(sim.random.pick([50, 600, 3_000]), () => kernel.host.resume());
  },
  "process killed": (world, later) => {
    const { sim } = world;
    if (world.living().length < 3) return;
    const kernel = sim.random.pick(world.living());
    kernel.host.crash();
    later(sim.random.pick([10, 1_000]), () => {
      world.remove(kernel);
      sim.count("removed");
      world.start();
    });
  },
  "removed while it runs": (world) => {
    const { sim } = world;
    if (world.living().length < 3) return;
    const kernel = sim.random.pick(world.living());
    if (kernel.id === 0) return;
    world.remove(kernel);
    world.start();
    // It reads that it has been removed, and ends.
    kernel.host.after(sim.random.between(0, 1_000), () => {
      kernel.proxies.close();
      kernel.host.crash();
    });
  },
};

export class Faults {
  readonly #world: ProxyWorld;
  readonly #strikes: Strikes<ProxyWorld>;

  constructor(world: ProxyWorld) {
    this.#world = world;
    this.#strikes = new Strikes(world);
  }

  get struck(): number {
    return this.#strikes.struck;
  }

  begin(): void {
    const { sim } = this.#world;
    const { random, network } = sim;
    const enabled = random.sample(Object.entries(strikes), random.integer(1, 5));
    const meanMs = random.pick([150, 300, 600]);
    this.#world.viewMs = random.pick([1, 50, 500]);
    network.faults = {
      latencyMs: { min: 0.05, max: random.pick([0.2, 5, 90]) },
      loss: random.pick([0, 0, 0.01]),
      duplicate: 0,
      held: random.pick([0, 0.01]),
      heldMs: random.pick([20, 300]),
    };
    this.#strikes.begin(enabled, meanMs);
  }

  heal(): void {
    const { sim } = this.#world;
    this.#strikes.end();
    sim.log("heal");
    sim.network.faults = calm;
    sim.network.mendAll();
    for (const kernel of this.#world.kernels) {
      kernel.host.resume();
      if (!kernel.host.running) this.#bury(kernel.incarnation);
    }
  }

  /** Whoever died and has not been removed yet is now. */
  #bury(incarnation: string): void {
    const world = this.#world;
    const member = world.members().find((each) => each.incarnation === incarnation);
    const kernel = world.kernels.find((each) => each.incarnation === incarnation)!;
    if (member) {
      kernel.id = member.kernel;
      world.remove(kernel);
    }
  }
}
