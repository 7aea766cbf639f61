/** One act on several names: all are tried, every failure is told, the first one's code is the exit code. */
import { DvsError } from "../core/errors.ts";

export async function each(names: readonly string[], act: (name: string) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(names.map(act));
  const failures = results.flatMap((r, i) =>
    r.status === "rejected" ? [{ name: names[i]!, error: DvsError.from(r.reason) }] : [],
  );
  if (failures.length === 0) return;
  const first = failures[0]!.error;
  if (failures.length === 1) throw first;
  throw new DvsError(first.code, failures.map((f) => f.error.message).join("\n"), {
    issues: failures.map((f) => ({ path: f.name, message: f.error.message })),
    cause: first.cause,
  });
}

/** Lets a NOT_FOUND pass where `--ignore-missing` was given. */
export async function unlessMissing(ignore: boolean, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (thrown) {
    if (!ignore || !(thrown instanceof DvsError) || thrown.code !== "NOT_FOUND") throw thrown;
  }
}
