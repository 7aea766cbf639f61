/**
 * The time that leases and retries live by. It is an argument so that a simulator, or a test, can hold it; it must
 * never go back, so it is no wall clock.
 */
export interface Clock {
  /** Milliseconds since some fixed moment. */
  now(): number;
  /** Runs once, not before the delay has passed; the returned function cancels it. */
  setTimer(delayMs: number, run: () => void): () => void;
}

/** The longest delay that setTimeout takes (2^31 - 1); who needs more asks again. */
const timerMsMax = 2_147_483_647;

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(delayMs, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, delayMs), timerMsMax));
    return () => clearTimeout(timer);
  },
};

export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.setTimer(delayMs, resolve));
}
