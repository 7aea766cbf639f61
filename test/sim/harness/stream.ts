/**
 * One end of a stream. What is sent arrives in order or not at all: loss costs time; a link that stays cut, or a host
 * process that dies on a living machine, breaks the stream. `Out` is what this end sends, `In` what it receives.
 */
import type { Host } from "./host.ts";
import type { Simulation } from "./simulation.ts";

const retransmitMs = 200;
const giveUpMs = 8_000;

export class Stream<Out, In> {
  readonly #sim: Simulation;
  readonly #here: Host;
  readonly #there: Host;
  #life: number;
  #far!: Stream<In, Out>;
  /** Under way, the oldest first. */
  #queue: { atMs: number; giveUpMs: number; run: () => void }[] = [];
  closed = false;
  onMessage: ((message: In) => void) | undefined;
  onClose: (() => void) | undefined;

  constructor(sim: Simulation, here: Host, there: Host) {
    this.#sim = sim;
    this.#here = here;
    this.#there = there;
    this.#life = here.life;
  }

  join(far: Stream<In, Out>): void {
    this.#far = far;
  }

  /** This end exists. What is sent to it before waits. */
  opened = false;
  /** False when it exists already. */
  open(): boolean {
    if (this.opened) return false;
    this.opened = true;
    this.#life = this.#here.life;
    return true;
  }

  send(message: Out): void {
    if (this.closed) return;
    this.#enqueue(() => {
      if (!this.#far.closed) this.#far.onMessage?.(message);
    });
  }

  /** Tells the other end after all that was sent, if the network can. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#enqueue(() => this.#far.broken());
  }

  broken(): void {
    if (this.closed) return;
    this.closed = true;
    this.#here.enter(this.#life, () => this.onClose?.());
  }

  #enqueue(run: () => void): void {
    const { network, random, nowMs } = this.#sim;
    let delayMs = network.delayMs();
    while (random.chance(network.faults.loss)) delayMs += retransmitMs;
    this.#queue.push({ atMs: nowMs + delayMs, giveUpMs: nowMs + giveUpMs, run });
    if (this.#queue.length === 1) this.#carryNext();
  }

  #carryNext(): void {
    const head = this.#queue[0];
    if (!head) return;
    this.#sim.after(head.atMs - this.#sim.nowMs, () => {
      const far = this.#far;
      if (!far.opened || !this.#sim.network.carries(this.#here.id, this.#there.id)) {
        head.atMs = this.#sim.nowMs + retransmitMs;
        if (head.atMs >= head.giveUpMs) {
          this.#queue = [];
          this.broken();
        }
      } else {
        this.#queue.shift();
        // Another host process has the port now, or none: a reset comes back.
        if (this.#there.life === far.#life) this.#there.enter(far.#life, head.run);
        else this.broken();
      }
      this.#carryNext();
    });
  }
}
