/** A clock that stands still until the test moves it. */
import type { Clock } from "../../../core/store/clock.ts";

export class ManualClock implements Clock {
  #now = 1_000;
  readonly #timers = new Set<{ at: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  setTimer(delayMs: number, run: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, delayMs), run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Timers run at their times, in order; what they set off has ended when this resolves. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#now = Math.max(this.#now, next.at);
      this.#timers.delete(next);
      next.run();
      await turn();
    }
    this.#now = end;
    await turn();
  }

  /** The process stands still: time passes and timers ring only after it. */
  async standStill(ms: number): Promise<void> {
    this.#now += ms;
    await this.advance(0);
  }
}

async function turn(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
