/** Asks again and again until something is so, for what the API has no watch for. */
import { setTimeout as delay } from "node:timers/promises";
import { DvsError } from "../core/errors.ts";
import type { Progress } from "./progress.ts";

/**
 * True as soon as `ask` is; false when the time is over. A coordinator that does not answer is asked again. An abort
 * of `signal` rejects.
 */
export async function pollUntil(
  timeoutMs: number,
  signal: AbortSignal,
  progress: Progress,
  ask: () => Promise<boolean>,
  everyMs = 200,
): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  try {
    for (;;) {
      signal.throwIfAborted();
      try {
        if (await ask()) return true;
      } catch (thrown) {
        const error = DvsError.from(thrown);
        if (!error.retry) throw thrown;
        progress.show(`waiting for the coordinator (${error.message})`);
      }
      const left = end - performance.now();
      if (left <= 0) return false;
      await delay(Math.min(everyMs, left), undefined, { signal });
    }
  } finally {
    progress.end();
  }
}
