/** Runs `work` for each item, at most `width` at a time. Rejects with the first failure, once those running have ended. */
export async function forEachParallel<T>(
  items: Iterable<T> | AsyncIterable<T>,
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let failed = false;
  const worker = async (): Promise<void> => {
    while (!failed) {
      const next = await iterator.next();
      if (next.done) return;
      try {
        await work(next.value);
      } catch (e) {
        failed = true;
        throw e;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: width }, worker));
  const bad = ends.find((end) => end.status === "rejected");
  if (bad) {
    await iterator.return?.();
    throw bad.reason;
  }
}
