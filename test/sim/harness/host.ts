/**
 * A failure domain: a host process or a machine. It has its own clocks and timers, which end when it crashes and
 * wait while it is stopped (SIGSTOP): what arrives meanwhile waits in its socket buffers.
 */
import type { Simulation } from "./simulation.ts";

export class Host {
  readonly id: string;
  readonly #sim: Simulation;
  /** Raised by each start and crash: what belongs to an earlier life does not run. */
  life = 0;
  running = false;
  paused = false;
  /** Speed of its monotonic clock: crystals differ. */
  readonly rate: number;
  /** Added to its wall clock; people and NTP set it. */
  wallOffsetMs = 0;
  #waiting: (() => void)[] = [];

  constructor(sim: Simulation, id: string) {
    this.#sim = sim;
    this.id = id;
    this.rate = sim.random.between(0.995, 1.005);
  }

  /** Monotonic, in this host's own opinion; starts at an arbitrary value, as in life. */
  nowMs(): number {
    return 1_000 + this.#sim.nowMs * this.rate;
  }

  wallMs(): number {
    return 1_800_000_000_000 + Math.round(this.#sim.nowMs) + this.wallOffsetMs;
  }

  start(): void {
    this.life++;
    this.running = true;
    this.paused = false;
    this.#waiting = [];
  }

  /** kill -9: no code of it runs any more. */
  crash(): void {
    this.life++;
    this.running = false;
    this.paused = false;
    this.#waiting = [];
  }

  pause(): void {
    if (this.running) this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    // In the order of arrival: a socket's buffer is a queue.
    const { life } = this;
    this.#sim.after(0, () => {
      for (const run of waiting) this.enter(life, run);
    });
  }

  /** Runs code of this life: now, on resume, or never. */
  enter(life: number, run: () => void): void {
    if (!this.running || life !== this.life) return;
    if (this.paused) this.#waiting.push(run);
    else run();
  }

  /** Once, by its own clock, if it lives that long. */
  after(delayMs: number, run: () => void): void {
    const { life } = this;
    this.#sim.after(delayMs / this.rate, () => this.enter(life, run));
  }

  every(intervalMs: number, run: () => void): void {
    this.after(intervalMs, () => {
      run();
      this.every(intervalMs, run);
    });
  }
}
