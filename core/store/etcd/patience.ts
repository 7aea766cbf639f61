/** Waiting for a promise no longer than so long. The promise itself goes on, and its failure is nobody's then. */

/** True when the promise was fulfilled in time, false when it was not yet. Throws what it was rejected with. */
export async function settled(promise: Promise<unknown>, waitMs: number): Promise<boolean> {
  promise.catch(() => undefined);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, waitMs, false);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
