/** `unlink` and `removeDirectory`. */
import { isDirectory } from "../../attributes.ts";
import type { Errno } from "../../errno.ts";
import { reapedPerOperation } from "../../../limits.ts";
import type { FileOperations, FileResult } from "../../operations.ts";
import { type Inode, touch, touchContent } from "../inodes.ts";
import { checkAllowed, checkRemoving, mayExecute } from "../permissions.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";
import { checkName, expectedEntry, isDots, livingDirectory } from "./naming.ts";

export function unlink(volume: Volume, operation: FileOperations["unlink"], step: Step): FileResult {
  const { parent, inode } = toRemove(volume, operation, "EISDIR");
  if (isDirectory(inode)) refuse("EISDIR");
  return removed(volume, parent, operation[3], inode, step);
}

export function removeDirectory(
  volume: Volume,
  operation: FileOperations["removeDirectory"],
  step: Step,
): FileResult {
  const { parent, inode } = toRemove(volume, operation, operation[3] === "." ? "EINVAL" : "ENOTEMPTY");
  if (!isDirectory(inode)) refuse("ENOTDIR");
  if (!volume.entries.isEmpty(inode.ino)) refuse("ENOTEMPTY");
  parent.nlink--;
  return removed(volume, parent, operation[3], inode, step);
}

/** What has the name, and may be removed by whoever asks. `ofDots`: how "." and ".." are refused. */
function toRemove(
  volume: Volume,
  [, by, parentIno, name, ino]: FileOperations["unlink" | "removeDirectory"],
  ofDots: Errno,
): { parent: Inode; inode: Inode } {
  checkName(name);
  const parent = livingDirectory(volume, parentIno);
  checkAllowed(parent, by, mayExecute);
  if (isDots(name)) refuse(ofDots);
  expectedEntry(volume, parentIno, name, ino);
  const inode = volume.inodes.get(ino);
  checkRemoving(parent, inode, by);
  return { parent, inode };
}

function removed(volume: Volume, parent: Inode, name: string, inode: Inode, step: Step): FileResult {
  volume.entries.remove(parent.ino, name);
  touchContent(parent, step);
  volume.inodes.save(parent);
  loseName(volume, inode, step);
  return [""];
}

/** One name of a file is gone, or that of an empty directory, whose parent is counted by the caller. */
export function loseName({ inodes, opens, reaper }: Volume, inode: Inode, step: Step): void {
  inode.nlink = isDirectory(inode) ? 0 : inode.nlink - 1;
  touch(inode, step);
  inodes.save(inode);
  if (inode.nlink > 0) return;
  opens.orphaned(inode, step.timeMs);
  reaper.step(step.timeMs, reapedPerOperation);
}
