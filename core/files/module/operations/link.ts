/** `link`: one more name for a file. */
import { isDirectory, kindOf } from "../../attributes.ts";
import { fileLinksMax } from "../../../limits.ts";
import type { FileOperations, FileResult } from "../../operations.ts";
import { attributesRow, touch, touchContent } from "../inodes.ts";
import { checkAllowed, checkNaming, mayExecute } from "../permissions.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";
import { checkName, isDots, livingDirectory } from "./naming.ts";

export function link(
  volume: Volume,
  [, by, ino, parentIno, name]: FileOperations["link"],
  step: Step,
): FileResult {
  const { entries, inodes, counters } = volume;
  checkName(name);
  const inode = inodes.get(ino);
  const parent = livingDirectory(volume, parentIno);
  checkAllowed(parent, by, mayExecute);
  if (isDots(name) || entries.find(parentIno, name)) refuse("EEXIST");
  checkNaming(parent, by);
  if (isDirectory(inode)) refuse("EPERM");
  // What has lost its last name gets none again.
  if (inode.nlink === 0) refuse("ENOENT");
  if (inode.nlink >= fileLinksMax) refuse("EMLINK");

  entries.insert(parentIno, { name, ino, kind: kindOf(inode), cookie: counters.nextId() });
  inode.nlink++;
  touch(inode, step);
  inodes.save(inode);
  touchContent(parent, step);
  inodes.save(parent);
  return ["", attributesRow(inode)];
}
