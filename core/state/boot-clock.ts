/**
 * The clock of leases: milliseconds since the machine booted, counting the time it was suspended, as /proc/uptime does,
 * and as fine as the runtime's own clock. That one stands still while the machine sleeps, so it is compared with
 * /proc/uptime (steps of 10 ms) whenever a millisecond has passed since the last time; it never goes back.
 */
import { uptimeMs } from "../platform/uptime.ts";

/** What both may differ by without a suspend: a step of /proc/uptime, and the time between the two readings. */
const toleranceMs = 25;

export class BootClock {
  #offsetMs: number;
  #comparedMs: number;
  readonly #monotonicMs: () => number;
  readonly #bootMs: () => number;

  constructor(monotonicMs: () => number = () => performance.now(), bootMs: () => number = uptimeMs) {
    this.#monotonicMs = monotonicMs;
    this.#bootMs = bootMs;
    this.#comparedMs = monotonicMs();
    this.#offsetMs = bootMs() - this.#comparedMs;
  }

  nowMs(): number {
    const monotonicMs = this.#monotonicMs();
    if (monotonicMs - this.#comparedMs >= 1) {
      this.#comparedMs = monotonicMs;
      const offsetMs = this.#bootMs() - monotonicMs;
      if (offsetMs - this.#offsetMs > toleranceMs) this.#offsetMs = offsetMs;
    }
    return monotonicMs + this.#offsetMs;
  }
}
