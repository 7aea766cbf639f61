/** All parts of one simulated instance. */
import { endpointOf, type Endpoint } from "../../../core/kernel/endpoint.ts";
import type { Simulation } from "../harness/simulation.ts";
import { Ledger } from "./ledger.ts";
import { SimKernel } from "./sim-kernel.ts";
import { SimLinks } from "./sim-links.ts";
import { SimLog } from "./sim-log.ts";

export class KernelWorld {
  readonly sim: Simulation;
  readonly log: SimLog;
  readonly links: SimLinks;
  readonly ledger: Ledger;
  readonly kernels: SimKernel[] = [];
  /** Every endpoint that was ever bound, by each kernel that it came to. */
  readonly endpoints: Endpoint[] = [];
  /** Endpoint → the life that has it, or had it last. */
  readonly lives = new Map<Endpoint, number>();
  /** Processes make calls, and answer late. */
  talking = true;
  /** Things fail. */
  chaos = true;
  /** Raised whenever a process of some kernel may have begun or ceased to act. */
  changes = 0;
  #lifes = 0;
  #kernels = 0;

  constructor(sim: Simulation) {
    this.sim = sim;
    this.log = new SimLog(sim);
    this.links = new SimLinks(sim);
    this.ledger = new Ledger(sim);
    this.log.onBefore = ({ record }) => {
      if (record.type !== "remove") return;
      for (const [endpoint, life] of this.lives) {
        if (this.log.truth.holderOf(endpoint) === record.kernel) this.#dying.add(life);
      }
    };
    this.log.onOrdered = ({ record }, change) => {
      if (change.type === "removed") {
        for (const life of this.#dying) this.ledger.dead.add(life);
        const reason = record.type === "remove" ? record.reason : "";
        this.sim.count(`removed:${reason}`);
      }
      this.#dying.clear();
    };
  }
  readonly #dying = new Set<number>();

  addKernel(): SimKernel {
    const kernel = new SimKernel(this, `k${++this.#kernels}`);
    this.kernels.push(kernel);
    this.changes++;
    this.sim.log(`${kernel.host.id} starts as ${kernel.incarnation}`);
    return kernel;
  }

  running(): SimKernel[] {
    return this.kernels.filter((kernel) => kernel.host.running && !kernel.machine.exited);
  }

  #livingNow(): Endpoint[] {
    if (this.#livingAt === this.changes) return this.#living;
    this.#livingAt = this.changes;
    this.#living = this.running().flatMap((kernel) => [...kernel.actors.keys()]);
    return this.#living;
  }
  #living: Endpoint[] = [];
  #livingAt = -1;

  nextLife(): number {
    return ++this.#lifes;
  }

  /** Mostly one that lives. */
  someEndpoint(self: Endpoint): Endpoint {
    const { random } = this.sim;
    if (random.chance(0.02)) return endpointOf(random.integer(0, 300), random.integer(1, 4));
    const living = this.#livingNow();
    const from = living.length > 1 && random.chance(0.95) ? living : this.endpoints;
    const picked = random.pick(from);
    return picked === self ? random.pick(from) : picked;
  }
}
