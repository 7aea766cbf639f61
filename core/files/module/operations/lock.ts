/** `lock` and `cancelLock`. */
import type { FileOperations, FileResult } from "../../operations.ts";
import { rangeOf } from "../locks.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";

export function lock(
  { inodes, locks }: Volume,
  [, ino, type, kind, start, end, owner, pid, wait]: FileOperations["lock"],
  { client, index }: Step,
): FileResult {
  const range = rangeOf(type, start, end);
  inodes.get(ino);
  const isGranted = locks.lock({ ino, type, client, owner, ...range, kind, pid }, wait, index);
  return ["", isGranted ? 1 : 0];
}

export function cancelLock(
  { locks }: Volume,
  [, , wait]: FileOperations["cancelLock"],
  { client }: Step,
): FileResult {
  return ["", locks.cancel(client, wait) ? 1 : 0];
}
