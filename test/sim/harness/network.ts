/**
 * The network between hosts: latency, loss, reordering, duplicates, one-way partitions. Two services:
 *
 *   send     a message of its own (a request by a new connection): may be lost, late, twice, out of order
 *   connect  a stream: in order and whole until it breaks; nobody is told that the other end has lost its power
 */
import type { Host } from "./host.ts";
import type { Simulation } from "./simulation.ts";
import { Stream } from "./stream.ts";

export interface NetworkFaults {
  latencyMs: { min: number; max: number };
  loss: number;
  duplicate: number;
  /** Share of messages that are held back by up to `heldMs`. */
  held: number;
  heldMs: number;
}

export const calm: NetworkFaults = {
  latencyMs: { min: 0.1, max: 2 },
  loss: 0,
  duplicate: 0,
  held: 0,
  heldMs: 0,
};

export class Network {
  readonly #sim: Simulation;
  /** `from>to` of links that carry nothing. */
  readonly #cut = new Set<string>();
  faults: NetworkFaults = calm;

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }
  mend(from: string, to: string): void {
    this.#cut.delete(`${from}>${to}`);
  }
  mendAll(): void {
    this.#cut.clear();
  }
  carries(from: string, to: string): boolean {
    return !this.#cut.has(`${from}>${to}`);
  }

  /** One message. `arrive` runs at the receiver, if it gets there while that lives. */
  send(from: Host, to: Host, arrive: () => void): void {
    const { random } = this.#sim;
    const copies = random.chance(this.faults.duplicate) ? 2 : 1;
    if (copies === 2) this.#sim.count("net:duplicated");
    for (let i = 0; i < copies; i++) {
      if (random.chance(this.faults.loss) || !this.carries(from.id, to.id)) {
        this.#sim.count("net:lost");
        continue;
      }
      this.#sim.after(this.delayMs(), () => {
        if (!this.carries(from.id, to.id)) return;
        to.enter(to.life, arrive);
      });
    }
  }

  /** A question and its answer, each a message: either may be lost or come twice. An answer dies with who asked. */
  request<T>(
    from: Host,
    to: Host,
    serve: (reply: (answer: T) => void) => void,
    done: (answer: T) => void,
  ): void {
    const { life } = from;
    this.send(from, to, () =>
      serve((answer) =>
        this.send(to, from, () => {
          if (from.life === life) done(answer);
        }),
      ),
    );
  }

  /** A stream from one host's code to another's; `accept` runs at the far end when it is open. */
  connect<Up, Down>(from: Host, to: Host, accept: (far: Stream<Down, Up>) => void): Stream<Up, Down> {
    const near = new Stream<Up, Down>(this.#sim, from, to);
    const far = new Stream<Down, Up>(this.#sim, to, from);
    near.join(far);
    far.join(near);
    near.open();
    this.send(from, to, () => {
      if (far.open()) accept(far);
    });
    return near;
  }

  delayMs(): number {
    const { random } = this.#sim;
    const { latencyMs, held, heldMs } = this.faults;
    const base = random.between(latencyMs.min, latencyMs.max);
    if (!random.chance(held)) return base;
    this.#sim.count("net:held");
    return base + random.between(0, heldMs);
  }
}
