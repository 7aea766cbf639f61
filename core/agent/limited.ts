/**
 * Runs one request with a time limit under a signal that lives as long as the agent. (AbortSignal.any would hang a
 * new dependent on it each time; an agent sends two heartbeats a second for months.)
 */
import { DvsError } from "../errors.ts";

export async function limited<T>(
  signal: AbortSignal,
  timeoutMs: number,
  action: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const own = new AbortController();
  const onAbort = () => own.abort(signal.reason);
  signal.addEventListener("abort", onAbort);
  const timer = setTimeout(() => {
    own.abort(new DvsError("TIMEOUT", `The coordinator did not answer within ${timeoutMs / 1000} s.`));
  }, timeoutMs);
  try {
    return await action(own.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

/** Resolves after `ms`, or when the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
