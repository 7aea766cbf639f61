/** `open` and `release`: who has what open, as far as it keeps a file that has no name. */
import { reapedPerOperation } from "../../../limits.ts";
import type { FileOperations, FileResult } from "../../operations.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";

export function open({ inodes, opens }: Volume, [, ino]: FileOperations["open"], step: Step): FileResult {
  opens.open(step.client, inodes.get(ino));
  return [""];
}

export function release(
  { inodes, opens, locks, reaper }: Volume,
  [, inos]: FileOperations["release"],
  step: Step,
): FileResult {
  for (const ino of inos) {
    locks.release(step.client, ino, step.index);
    opens.release(step.client, ino, inodes.find(ino), step.timeMs);
  }
  reaper.step(step.timeMs, reapedPerOperation);
  return [""];
}
