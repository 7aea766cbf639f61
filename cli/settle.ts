/**
 * Sends a change until its outcome is known. Where the answer was lost the change is sent again, so it must be one
 * that may be: it carries a key, or looks first at what is. A coordinator that was never reached is told at once,
 * since nothing was done.
 */
import { setTimeout as delay } from "node:timers/promises";
import { DvsError } from "../core/errors.ts";
import type { Io } from "./io.ts";
import { Progress } from "./progress.ts";
import type { Words } from "./words.ts";

export interface SettleContext {
  args: { timeout: number };
  io: Io;
  words: Words;
}

const retryMs = 200;

/** `again`: an earlier attempt may have been carried out. Throws OUTCOME_UNKNOWN when the time is over before it is known. */
export async function settle<T>(
  { args, io, words }: SettleContext,
  send: (again: boolean) => Promise<T>,
): Promise<T> {
  const end = performance.now() + args.timeout;
  const progress = new Progress(io, words);
  let unknown: DvsError | null = null;
  try {
    for (;;) {
      try {
        return await send(unknown !== null);
      } catch (thrown) {
        const error = DvsError.from(thrown);
        if (error.code === "OUTCOME_UNKNOWN") unknown = error;
        else if (!unknown || !error.retry) throw thrown;
        if (performance.now() >= end) throw unknown;
        progress.show(`the answer was lost, asking again (${error.message})`);
      }
      await delay(retryMs, undefined, { signal: io.signal });
    }
  } finally {
    progress.end();
  }
}
