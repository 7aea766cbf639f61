/**
 * Asks several who can all answer, for what may be asked twice: the next one when one cannot answer, and beside one
 * that has not answered for a while. A machine that is cut off takes what is sent to it and says nothing; a takeover
 * must not wait until that is certain.
 */
import { DvsError } from "../errors.ts";

export interface AskAnyOptions {
  /** Ends all of it. */
  signal: AbortSignal;
  /** The next one is asked as well after so long without an answer; Infinity: only after a failure. */
  besideMs: number;
}

/** It was understood and cannot be answered otherwise elsewhere. */
const isFinal = ({ code }: DvsError) =>
  code !== "UNAVAILABLE" && code !== "TIMEOUT" && code !== "OUTCOME_UNKNOWN";

/**
 * The first answer, or the first error that another would give as well. Rejects with UNAVAILABLE when nobody was
 * reached; with TIMEOUT or OUTCOME_UNKNOWN when at least one may have done it.
 */
export function askAny<T>(
  addresses: readonly string[],
  ask: (address: string, signal: AbortSignal) => Promise<T>,
  { signal, besideMs }: AskAnyOptions,
): Promise<T> {
  const rest = [...addresses];
  const over = new AbortController();
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let asked = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let worst: DvsError | undefined;
  const onAbort = () => over.abort(signal.reason);
  const end = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    over.abort();
  };

  function next(): void {
    clearTimeout(timer);
    const address = rest.shift();
    if (address === undefined) return;
    asked++;
    if (rest.length > 0 && besideMs !== Infinity) timer = setTimeout(next, besideMs);
    ask(address, over.signal).then(
      (answer) => {
        end();
        resolve(answer);
      },
      (e: unknown) => failed(DvsError.from(e)),
    );
  }

  function failed(error: DvsError): void {
    asked--;
    // What may have been done is not told as what was not.
    if (!worst || worst.code === "UNAVAILABLE") worst = error;
    const stop = isFinal(error) || over.signal.aborted;
    if (!stop && rest.length > 0) return next();
    if (!stop && asked > 0) return;
    end();
    reject(stop && isFinal(error) ? error : worst);
  }

  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  next();
  return promise;
}
