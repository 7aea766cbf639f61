/** `create`: a name with a new file, directory, symbolic link, fifo or socket. */
import { fileLinksMax } from "../../../limits.ts";
import { isDirectory, kindMask, kinds } from "../../attributes.ts";
import { targetIssue, utf8Bytes } from "../../names.ts";
import type { FileOperations, FileResult } from "../../operations.ts";
import { attributesRow, directorySize, type Inode, touchContent } from "../inodes.ts";
import { checkAllowed, checkNaming, inherited, mayExecute } from "../permissions.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";
import { checkName, isDots, livingDirectory } from "./naming.ts";

const known = new Set<number>(Object.values(kinds));

export function create(
  volume: Volume,
  [, by, parentIno, name, mode, target, open, exclusive]: FileOperations["create"],
  step: Step,
): FileResult {
  const { entries, inodes, counters, opens } = volume;
  const kind = mode & kindMask;
  if (!known.has(kind)) refuse("EPERM");
  checkName(name);
  const parent = livingDirectory(volume, parentIno);
  checkAllowed(parent, by, mayExecute);
  if (isDots(name)) refuse(kind === kinds.file && exclusive === 0 ? "EISDIR" : "EEXIST");
  const entry = entries.find(parentIno, name);
  if (entry) {
    if (exclusive === 1 || kind !== kinds.file) refuse("EEXIST");
    const inode = inodes.get(entry.ino);
    if (isDirectory(inode)) refuse("EISDIR");
    return ["", attributesRow(inode), 0];
  }
  checkNaming(parent, by);
  const issue = kind === kinds.symlink ? targetIssue(target) : target === "" ? null : "EINVAL";
  if (issue) refuse(issue);
  const isOfDirectory = kind === kinds.directory;
  if (isOfDirectory && parent.nlink >= fileLinksMax) refuse("EMLINK");
  counters.checkRoom(0, 1);

  const ino = counters.nextId();
  const inode: Inode = {
    ...inherited(parent, kind === kinds.symlink ? kind | 0o777 : mode, by),
    ino,
    nlink: isOfDirectory ? 2 : 1,
    uid: by[0],
    size: isOfDirectory ? directorySize : kind === kinds.symlink ? utf8Bytes(target) : 0,
    content: isOfDirectory ? parentIno : ino,
    target: kind === kinds.symlink ? target : null,
    ...{ allocated: 0, tail: 0, change: step.index },
    ...{ atime: step.seconds, mtime: step.seconds, ctime: step.seconds },
    ...{ atimeNanos: step.nanos, mtimeNanos: step.nanos, ctimeNanos: step.nanos },
  };
  inodes.insert(inode);
  entries.insert(parentIno, { name, ino, kind, cookie: ino });
  if (isOfDirectory) parent.nlink++;
  touchContent(parent, step);
  inodes.save(parent);
  counters.use(0, 1);
  if (open === 1) opens.open(step.client, inode);
  return ["", attributesRow(inode), 1];
}
