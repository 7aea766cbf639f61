/**
 * The clock of an agent's own deadlines: milliseconds in which this process could run. When a machine is suspended
 * or the agent is stopped by a signal, its containers were most likely stopped with it; after that no deadline may
 * have passed which they had no chance to meet. So a gap between two looks at the clock counts as one short one.
 *
 * It also measures how late the loop is: the time between two turns of a timer, less the timer's own interval.
 */

const tickMs = 100;
/** A loop that did not turn for this long was stopped, not busy. */
const gapMsMax = 1_000;

export interface Cancel {
  cancel(): void;
}

export class ActiveClock {
  #last = performance.now();
  #skippedMs = 0;
  #tickedAt = this.#last;
  #lagMsMax = 0;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #waiting = new Set<Cancel>();

  constructor() {
    this.#timer = setInterval(() => this.#tick(), tickMs);
  }

  now(): number {
    const now = performance.now();
    const gap = now - this.#last;
    this.#last = now;
    if (gap > gapMsMax) this.#skippedMs += gap - tickMs;
    return now - this.#skippedMs;
  }

  /** Runs `action` once `ms` of active time have passed. */
  after(ms: number, action: () => void): Cancel {
    const due = this.now() + ms;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const wait: Cancel = {
      cancel: () => {
        clearTimeout(timer);
        this.#waiting.delete(wait);
      },
    };
    const look = () => {
      const left = due - this.now();
      if (left > 0) {
        timer = setTimeout(look, left);
        return;
      }
      this.#waiting.delete(wait);
      action();
    };
    timer = setTimeout(look, ms);
    this.#waiting.add(wait);
    return wait;
  }

  /** The latest turn of the loop since the last call, in milliseconds. */
  takeLagMs(): number {
    const lag = this.#lagMsMax;
    this.#lagMsMax = 0;
    return lag;
  }

  /** No action runs afterwards. */
  close(): void {
    clearInterval(this.#timer);
    for (const wait of this.#waiting) wait.cancel();
  }

  #tick(): void {
    const now = performance.now();
    this.#lagMsMax = Math.max(this.#lagMsMax, now - this.#tickedAt - tickMs);
    this.#tickedAt = now;
    this.now();
  }
}
