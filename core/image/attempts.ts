/** Trying again after a broken connection: at once the first time, then ever later, and only while it may help. */
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../errors.ts";
import { transferAttemptsMax } from "../limits.ts";

const pauseMinMs = 50;
const pauseMaxMs = 5_000;

export class Attempts {
  #failures = 0;

  /** Something arrived: failures before it no longer count. */
  progressed(): void {
    this.#failures = 0;
  }

  /** Waits for the next attempt. Throws `error` when the other end refused for good, or after too many in a row. */
  async failed(error: unknown, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (!mayHelp(error) || ++this.#failures >= transferAttemptsMax) throw error;
    const pauseMs = Math.min(pauseMinMs * 4 ** (this.#failures - 1), pauseMaxMs);
    // Signals' reasons, not AbortError, are what callers see.
    await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, signal ? { signal } : {}).catch(() => {});
    signal?.throwIfAborted();
  }
}

/**
 * True for broken connections and whatever the error's table says; also for a lost answer, since sending blobs twice
 * is the same as once. A full disk is not waited for.
 */
function mayHelp(error: unknown): boolean {
  if (!(error instanceof DvsError)) return true;
  return (error.retry && error.code !== "EXHAUSTED") || error.code === "OUTCOME_UNKNOWN";
}
