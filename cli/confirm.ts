/** Asks before something is lost; only where a person can answer, and never with --yes. */
import { DvsError } from "../core/errors.ts";
import type { Io } from "./io.ts";

/** Throws FAILED when the answer is not yes. */
export async function confirm(io: Io, yes: boolean, question: string): Promise<void> {
  if (yes || !io.ask) return;
  const answer = (await io.ask(`${question} [y/N] `)).trim().toLowerCase();
  if (answer !== "y" && answer !== "yes") throw new DvsError("FAILED", "Nothing was changed: not confirmed.");
}
