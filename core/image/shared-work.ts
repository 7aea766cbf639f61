/**
 * Work that several callers may ask for at once and that is done once. Each caller may turn away on its own; when the
 * last one has, the work itself is aborted. Work with the same key that is asked for then begins after it has ended.
 */
import type { TransferOptions, TransferProgress } from "./remote.ts";

interface Work<Result> {
  result: Promise<Result>;
  stop: AbortController;
  waiters: Set<TransferOptions>;
  last: TransferProgress | undefined;
}

export class SharedWork<Result> {
  readonly #works = new Map<string, Work<Result>>();

  /** Joins the work under way, or begins it with `begin`, whose options replace the caller's signal and progress. */
  async join(
    key: string,
    caller: TransferOptions,
    begin: (shared: Required<TransferOptions>) => Promise<Result>,
  ): Promise<Result> {
    caller.signal?.throwIfAborted();
    const running = this.#works.get(key);
    const work = running && !running.stop.signal.aborted ? running : this.#begin(key, running, begin);
    // Its own object: one caller may join twice with the same options.
    const waiter: TransferOptions = { ...caller };
    work.waiters.add(waiter);
    if (work.last) waiter.onProgress?.(work.last);
    const { promise: left, reject } = Promise.withResolvers<never>();
    const leave = (): void => reject(caller.signal?.reason);
    caller.signal?.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([work.result, left]);
    } finally {
      caller.signal?.removeEventListener("abort", leave);
      work.waiters.delete(waiter);
      if (work.waiters.size === 0) work.stop.abort(caller.signal?.reason);
    }
  }

  #begin(
    key: string,
    before: Work<Result> | undefined,
    begin: (shared: Required<TransferOptions>) => Promise<Result>,
  ): Work<Result> {
    const stop = new AbortController();
    const waiters = new Set<TransferOptions>();
    const onProgress = (progress: TransferProgress): void => {
      work.last = progress;
      for (const waiter of waiters) waiter.onProgress?.(progress);
    };
    const run = async (): Promise<Result> => {
      await before?.result.catch(() => {});
      try {
        return await begin({ signal: stop.signal, onProgress });
      } finally {
        if (this.#works.get(key) === work) this.#works.delete(key);
      }
    };
    // Begins in a later turn of the queue, when `work` stands.
    const work: Work<Result> = { result: Promise.resolve().then(run), stop, waiters, last: undefined };
    work.result.catch(() => {}); // Those who wait hear of it.
    this.#works.set(key, work);
    return work;
  }
}
