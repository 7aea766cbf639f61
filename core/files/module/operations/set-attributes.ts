/** `setAttributes`: chmod, chown, truncate, utimensat, in one step. */
import { fileSizeMax } from "../../../limits.ts";
import { isDirectory, kindOf, kinds } from "../../attributes.ts";
import type { By, FileOperations, FileResult, TimeChange } from "../../operations.ts";
import { attributesRow, type Inode, touch, touchContent } from "../inodes.ts";
import {
  checkAllowed,
  clearSetId,
  isAllowed,
  isMember,
  isMemberOrRoot,
  mayWrite,
  setGroup,
  withoutSetId,
} from "../permissions.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import { useBytes, type Volume } from "../volume.ts";

const permissionBits = 0o7777;

export function setAttributes(
  volume: Volume,
  operation: FileOperations["setAttributes"],
  step: Step,
): FileResult {
  const [, by, ino, mode, uid, gid, size, atime, mtime] = operation;
  const { inodes, contents } = volume;
  const inode = inodes.get(ino);
  check(inode, operation);

  const allocated = inode.allocated;
  if (size >= 0) {
    if (!contents.clearBehind(inode, size)) {
      useBytes(volume, inode, inode.allocated - allocated);
      inodes.save(inode);
      return ["changed"];
    }
    contents.resize(inode, size);
    useBytes(volume, inode, inode.allocated - allocated);
    clearSetId(inode, by);
    touchContent(inode, step);
  }
  if (uid >= 0) inode.uid = uid;
  if (gid >= 0) inode.gid = gid;
  if ((uid >= 0 || gid >= 0) && kindOf(inode) === kinds.file) inode.mode = withoutSetId(inode.mode);
  if (mode >= 0) {
    const kept = isMemberOrRoot(by, inode.gid) ? mode : mode & ~setGroup;
    inode.mode = kindOf(inode) | (kept & permissionBits);
  }
  if (atime !== null) [inode.atime, inode.atimeNanos] = timeOf(atime, step);
  if (mtime !== null) [inode.mtime, inode.mtimeNanos] = timeOf(mtime, step);
  touch(inode, step);
  inodes.save(inode);
  return ["", attributesRow(inode)];
}

function check(
  inode: Inode,
  [, by, , mode, uid, gid, size, atime, mtime, opened]: FileOperations["setAttributes"],
) {
  const isOwner = by[0] === 0 || by[0] === inode.uid;
  if (size >= 0) {
    if (isDirectory(inode)) refuse("EISDIR");
    if (kindOf(inode) !== kinds.file) refuse("EINVAL");
    if (size > fileSizeMax) refuse("EFBIG");
    if (opened === 0) checkAllowed(inode, by, mayWrite);
  }
  if (mode >= 0 && !isOwner) refuse("EPERM");
  if (mode >= 0 && kindOf(inode) === kinds.symlink) refuse("EOPNOTSUPP");
  if (uid >= 0 && by[0] !== 0 && !(isOwner && uid === inode.uid)) refuse("EPERM");
  if (gid >= 0 && by[0] !== 0 && !(isOwner && (gid === inode.gid || isMember(by, gid)))) refuse("EPERM");
  checkTimes(inode, by, isOwner, atime, mtime);
}

/** Now may be set by who may write, any other time by the owner. */
function checkTimes(inode: Inode, by: By, isOwner: boolean, atime: TimeChange, mtime: TimeChange): void {
  if (isOwner || (atime === null && mtime === null)) return;
  const isNow = atime === 0 && mtime === 0;
  if (!isNow) refuse("EPERM");
  if (!isAllowed(inode, by, mayWrite)) refuse("EACCES");
}

function timeOf(time: readonly [number, number] | 0, { seconds, nanos }: Step): readonly [number, number] {
  return time === 0 ? [seconds, nanos] : time;
}
