/**
 * Sequences of operations with callbacks, written as generators: `const file = yield* call((done) => files.open(…, done))`.
 * They read like async functions, but run in virtual time as well as in real time, and go on within the very callback.
 */
import type { Done } from "./log-files.ts";

type Step = (done: Done<unknown>) => void;
export type Steps<T> = Generator<Step, T, unknown>;

/** One operation; throws its error. */
export function* call<T>(operation: (done: Done<T>) => void): Steps<T> {
  return (yield operation) as T;
}

/** Runs until the end or an error. `done` may throw: that is its caller's defect, and reaches whoever completed the last step. */
export function run<T>(steps: Steps<T>, done: Done<T>): void {
  let inside = false;
  // Set when an operation completed before it returned: then the loop goes on, instead of a recursion without bound.
  let completed: { error: Error | null; value: unknown } | null = null;

  const resume = (error: Error | null, value?: unknown): void => {
    completed = { error, value };
    if (inside) return;
    while (completed) {
      inside = true;
      const now: { error: Error | null; value: unknown } = completed;
      completed = null;
      let next: IteratorResult<Step, T>;
      try {
        next = now.error ? steps.throw(now.error) : steps.next(now.value);
        if (!next.done) next.value(resume);
      } catch (e) {
        inside = false;
        return done(e instanceof Error ? e : new Error(String(e)));
      }
      inside = false;
      if (next.done) return done(null, next.value);
    }
  };
  resume(null);
}

/** For callers outside of machines. */
export function promised<T>(steps: Steps<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    run(steps, (error, value) => (error ? reject(error) : resolve(value as T)));
  });
}
