/**
 * Tells a machine the time: as often as it wants while there is something to wait for, now and then while there is
 * not. An idle container that was woken a hundred times a second would cost a percent of a core for nothing.
 */
export interface TickerOptions {
  tick: () => void;
  /** Milliseconds until the machine has something to do: 0 or less at once, Infinity for never. */
  dueInMs: () => number;
  /** Never more often than this by itself, */
  leastMs: number;
  /** and never less often. */
  mostMs: number;
}

export class Ticker {
  readonly #options: TickerOptions;
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** The next tick is further away than it has to be for a deadline that is set now. */
  #isSlow = false;
  #running = false;

  constructor(options: TickerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = true;
    this.#arm();
  }

  stop(): void {
    this.#running = false;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** A deadline has been set: the next tick comes within `leastMs`. Costs nothing when it does anyway. */
  soon(): void {
    if (!this.#isSlow || !this.#running) return;
    this.#isSlow = false;
    clearTimeout(this.#timer!);
    this.#timer = setTimeout(this.#fire, this.#options.leastMs);
  }

  /** The machine has been told the time otherwise: counts as a tick. */
  ticked(): void {
    if (!this.#isSlow || !this.#running) return;
    clearTimeout(this.#timer!);
    this.#arm();
  }

  readonly #fire = (): void => {
    this.#options.tick();
    if (this.#running) this.#arm();
  };

  #arm(): void {
    const { dueInMs, leastMs, mostMs } = this.#options;
    const ms = Math.min(Math.max(dueInMs(), leastMs), mostMs);
    this.#isSlow = ms > leastMs;
    this.#timer = setTimeout(this.#fire, ms);
  }
}
