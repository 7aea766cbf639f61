/** What goes wrong now and then, until all is healed: each time one of the faults that a seed has enabled. */
import type { Simulation } from "./simulation.ts";

/** Once, after about that long, if things still go wrong then: healing is thorough. */
export type Later = (meanMs: number, run: () => void) => void;
/** A fault, counted by its name. What it breaks for a while it mends by `later`. */
export type Strike<World> = (world: World, later: Later) => void;

export class Strikes<World extends { readonly sim: Simulation }> {
  readonly #world: World;
  isActive = false;
  /** Faults so far. */
  struck = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** May be called for several sets, each with its own pace. */
  begin(enabled: readonly (readonly [string, Strike<World>])[], meanMs: number): void {
    this.isActive = true;
    if (enabled.length > 0) this.#next(enabled, meanMs);
  }

  end(): void {
    this.isActive = false;
  }

  #next(enabled: readonly (readonly [string, Strike<World>])[], meanMs: number): void {
    this.#later(meanMs, () => {
      const { sim } = this.#world;
      const [name, strike] = sim.random.pick(enabled);
      sim.count(name);
      sim.log(name);
      this.struck++;
      strike(this.#world, (laterMs, run) => this.#later(laterMs, run));
      this.#next(enabled, meanMs);
    });
  }

  #later(meanMs: number, run: () => void): void {
    const { sim } = this.#world;
    sim.after(sim.random.between(0.2, 1.8) * meanMs, () => {
      if (this.isActive) run();
    });
  }
}
