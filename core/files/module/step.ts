/** What one record knows: when it is, and whose. */
import type { ApplyContext } from "../../state/module.ts";

export interface Step {
  readonly index: number;
  readonly timeMs: number;
  /** Now, for times of files: rises from record to record, though the clock may stand still. */
  readonly seconds: number;
  readonly nanos: number;
  readonly client: string;
}

export function stepOf({
  index,
  timeMs,
  client = "",
}: Pick<ApplyContext, "index" | "timeMs"> & { client?: string }): Step {
  const seconds = Math.floor(timeMs / 1_000);
  const nanos = (Math.floor(timeMs) - seconds * 1_000) * 1_000_000 + (index % 1_000_000);
  return { index, timeMs, seconds, nanos, client };
}
