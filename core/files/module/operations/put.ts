/**
 * `put`: a whole small file in one record, where create, write, setAttributes and rename would be four. Others see what
 * the name had before, or all of the new file.
 */
import { isDirectory, kinds } from "../../attributes.ts";
import type { FileOperations, FileResult } from "../../operations.ts";
import { attributesRow, type Inode, touchContent } from "../inodes.ts";
import {
  checkAllowed,
  checkNaming,
  checkRemoving,
  inherited,
  isMember,
  isMemberOrRoot,
  mayExecute,
  setGroup,
} from "../permissions.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";
import { checkName, isDots, livingDirectory } from "./naming.ts";
import { loseName } from "./remove.ts";

export function put(volume: Volume, operation: FileOperations["put"], step: Step): FileResult {
  const [, by, parentIno, name, replacedIno, , , , , bytes] = operation;
  const { entries, inodes, contents, counters } = volume;
  checkName(name);
  const parent = livingDirectory(volume, parentIno);
  checkAllowed(parent, by, mayExecute);
  if (isDots(name)) refuse("EISDIR");
  const entry = entries.find(parentIno, name);
  if ((entry?.ino ?? 0) !== replacedIno) refuse("changed");
  const replaced = entry ? inodes.get(entry.ino) : null;
  if (replaced && isDirectory(replaced)) refuse("EISDIR");
  if (replaced) checkRemoving(parent, replaced, by);
  else checkNaming(parent, by);
  checkOwner(operation);
  counters.checkRoom(bytes.length, 1);

  const inode = made(operation, parent, counters.nextId(), step);
  if (bytes.length > 0) contents.write(inode, 0, bytes);
  inodes.insert(inode);
  const named = { name, ino: inode.ino, kind: kinds.file, cookie: inode.ino };
  if (replaced) entries.replace(parentIno, named);
  else entries.insert(parentIno, named);
  counters.use(inode.allocated, 1);
  touchContent(parent, step);
  inodes.save(parent);
  if (replaced) loseName(volume, replaced, step);
  return ["", attributesRow(inode)];
}

/** As a chown of one's own file. */
function checkOwner([, by, , , , , uid, gid]: FileOperations["put"]): void {
  if (by[0] === 0) return;
  if (uid >= 0 && uid !== by[0]) refuse("EPERM");
  if (gid >= 0 && !isMember(by, gid)) refuse("EPERM");
}

/** With nothing in it yet. */
function made(
  [, by, , , , mode, uid, gid, mtime]: FileOperations["put"],
  parent: Inode,
  ino: number,
  step: Step,
): Inode {
  const group = gid >= 0 ? gid : inherited(parent, kinds.file | mode, by).gid;
  const { seconds, nanos } = step;
  const [mtimeSeconds, mtimeNanos] = mtime === null || mtime === 0 ? [seconds, nanos] : mtime;
  return {
    ino,
    mode: kinds.file | (isMemberOrRoot(by, group) ? mode : mode & ~setGroup),
    ...{ nlink: 1, uid: uid >= 0 ? uid : by[0], gid: group },
    ...{ size: 0, allocated: 0, content: ino, tail: 0, target: null },
    ...{
      atime: seconds,
      atimeNanos: nanos,
      mtime: mtimeSeconds,
      mtimeNanos,
      ctime: seconds,
      ctimeNanos: nanos,
    },
    change: step.index,
  };
}
