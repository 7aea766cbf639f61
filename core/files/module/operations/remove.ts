/** `unlink` and `removeDirectory`. */
import { isDirectory } from "../../attributes.ts";
import { reapedPerOperation } from "../../../limits.ts";
import type { FileOperations, FileResult } from "../../operations.ts";
import { type Inode, touch, touchContent } from "../inodes.ts";
import { checkAllowed, checkRemoving, mayExecute } from "../permissions.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";
import { checkName, expectedEntry, isDots, livingDirectory } from "./naming.ts";

export function unlink(
  volume: Volume,
  [, by, parentIno, name, ino]: FileOperations["unlink"],
  step: Step,
): FileResult {
  const { entries, inodes } = volume;
  checkName(name);
  const parent = livingDirectory(volume, parentIno);
  checkAllowed(parent, by, mayExecute);
  if (isDots(name)) refuse("EISDIR");
  expectedEntry(volume, parentIno, name, ino);
  const inode = inodes.get(ino);
  checkRemoving(parent, inode, by);
  if (isDirectory(inode)) refuse("EISDIR");

  entries.remove(parentIno, name);
  touchContent(parent, step);
  inodes.save(parent);
  loseName(volume, inode, step);
  return [""];
}

export function removeDirectory(
  volume: Volume,
  [, by, parentIno, name, ino]: FileOperations["removeDirectory"],
  step: Step,
): FileResult {
  const { entries, inodes } = volume;
  checkName(name);
  const parent = livingDirectory(volume, parentIno);
  checkAllowed(parent, by, mayExecute);
  if (isDots(name)) refuse(name === "." ? "EINVAL" : "ENOTEMPTY");
  expectedEntry(volume, parentIno, name, ino);
  const inode = inodes.get(ino);
  checkRemoving(parent, inode, by);
  if (!isDirectory(inode)) refuse("ENOTDIR");
  if (!entries.isEmpty(ino)) refuse("ENOTEMPTY");

  entries.remove(parentIno, name);
  parent.nlink--;
  touchContent(parent, step);
  inodes.save(parent);
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
