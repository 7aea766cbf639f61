/** What may be done again is done again, for as long as an instance may take to recover from the loss of a machine. */
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../../core/errors.ts";

const patienceMs = 90_000;
const pauseMinMs = 200;
const pauseMaxMs = 5_000;

export async function attempted<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const startMs = performance.now();
  for (let pauseMs = pauseMinMs; ; pauseMs = Math.min(2 * pauseMs, pauseMaxMs)) {
    try {
      return await act();
    } catch (e) {
      const mayHelp =
        e instanceof DvsError && (e.retry || e.code === "OUTCOME_UNKNOWN") && e.code !== "EXHAUSTED";
      if (!mayHelp || signal.aborted || performance.now() - startMs > patienceMs) throw e;
      await sleep(pauseMs, undefined, { signal });
    }
  }
}
