/** `write`: bytes at an offset, or at the end. */
import { fileSizeMax } from "../../../limits.ts";
import { isDirectory, kindOf, kinds } from "../../attributes.ts";
import type { FileOperations, FileResult } from "../../operations.ts";
import { touchContent } from "../inodes.ts";
import { clearSetId } from "../permissions.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import { useBytes, type Volume } from "../volume.ts";

export function write(
  volume: Volume,
  [, by, ino, given, bytes]: FileOperations["write"],
  step: Step,
): FileResult {
  const { inodes, contents, counters } = volume;
  const inode = inodes.get(ino);
  if (kindOf(inode) !== kinds.file) refuse(isDirectory(inode) ? "EISDIR" : "EINVAL");
  const offset = given < 0 ? inode.size : given;
  if (offset + bytes.length > fileSizeMax) refuse("EFBIG");
  const { bytes: used, bytesMax } = counters.row;
  // Only near the quota it matters how much of it takes the place of other bytes.
  if (used + bytes.length > bytesMax) counters.checkRoom(contents.growth(inode, offset, bytes.length), 0);

  const { allocated } = inode;
  const isReady = contents.clearBehind(inode, offset + bytes.length);
  if (isReady) {
    contents.write(inode, offset, bytes);
    clearSetId(inode, by);
    touchContent(inode, step);
  }
  useBytes(volume, inode, inode.allocated - allocated);
  inodes.save(inode);
  return isReady ? ["", offset, inode.size, inode.change] : ["changed"];
}
