/** `attend`, `expire` and `reap`: what goes with time. */
import { reapedPerStep } from "../../../limits.ts";
import type { FileOperations, FileResult } from "../../operations.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";

export function attend(
  { clients }: Volume,
  [, ttlMs]: FileOperations["attend"],
  { client, timeMs }: Step,
): FileResult {
  // It has lost what it had, and must not lose what it will have.
  if (clients.isGone(client)) refuse("changed");
  clients.attend(client, ttlMs, timeMs);
  return [""];
}

export function expire({ clients }: Volume, step: Step): FileResult {
  clients.expire(step);
  return [""];
}

export function reap({ clients, reaper }: Volume, step: Step): FileResult {
  const taken = clients.takeFromGone(step, reapedPerStep);
  reaper.step(step.timeMs, reapedPerStep - taken);
  return [""];
}
