/** `rename`, as renameat2: what is at the new name is replaced, or a reason to refuse, or exchanged for the old. */
import { isDirectory, kindOf } from "../../attributes.ts";
import { fileLinksMax } from "../../../limits.ts";
import type { By, FileOperations, FileResult } from "../../operations.ts";
import { attributesRow, type Inode, touch, touchContent } from "../inodes.ts";
import { checkAllowed, checkNaming, checkRemoving, isAllowed, mayExecute, mayWrite } from "../permissions.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";
import { rootIno } from "../../file-system.ts";
import { checkName, expectedEntry, isDots, livingDirectory } from "./naming.ts";
import { loseName } from "./remove.ts";

const noReplace = 1;
const exchange = 2;

export function rename(volume: Volume, operation: FileOperations["rename"], step: Step): FileResult {
  const [, by, parentIno, name, toParentIno, toName, how, ino, replacedIno] = operation;
  const { entries, inodes, counters } = volume;
  checkName(name);
  checkName(toName);
  const parent = livingDirectory(volume, parentIno);
  const toParent = toParentIno === parentIno ? parent : livingDirectory(volume, toParentIno);
  checkAllowed(parent, by, mayExecute);
  checkAllowed(toParent, by, mayExecute);
  if (isDots(name) || isDots(toName)) refuse("EBUSY");
  const entry = expectedEntry(volume, parentIno, name, ino);
  const inode = inodes.get(ino);
  const toEntry = entries.find(toParentIno, toName);
  if (how === noReplace && toEntry) refuse("EEXIST");
  if (how === exchange && !toEntry) refuse("ENOENT");
  if ((toEntry?.ino ?? 0) !== replacedIno) refuse("changed");
  const replaced = toEntry ? (toEntry.ino === ino ? inode : inodes.get(toEntry.ino)) : null;
  const moves = parent !== toParent;
  if (moves && isDirectory(inode) && isWithin(volume, toParent, ino)) refuse("EINVAL");
  // The new name is an ancestor of the old: not empty, or in its own way.
  if (moves && replaced && isDirectory(replaced) && isWithin(volume, parent, replaced.ino)) {
    refuse(how === exchange ? "EINVAL" : "ENOTEMPTY");
  }
  // Two names of one file: nothing is done.
  if (replaced === inode) return ["", attributesRow(inode)];
  checkRemoving(parent, inode, by);
  if (replaced) checkRemoving(toParent, replaced, by);
  else checkNaming(toParent, by);
  if (moves) checkReparenting(inode, by);
  if (replaced && how === exchange) {
    if (moves) checkReparenting(replaced, by);
    exchangeNames(volume, operation, step, { parent, toParent, inode, replaced });
    return ["", attributesRow(inode)];
  }
  if (replaced) checkReplacing(volume, inode, replaced);
  const addsDirectory = moves && isDirectory(inode);
  const freesDirectory = replaced !== null && isDirectory(replaced);
  if (addsDirectory && !freesDirectory && toParent.nlink >= fileLinksMax) refuse("EMLINK");

  entries.remove(parentIno, name);
  // Within a directory it keeps its place in the listing: whoever renames while listing does not meet it again.
  const cookie = moves ? counters.nextId() : entry.cookie;
  const renamed = { name: toName, ino, kind: entry.kind, cookie };
  if (replaced) entries.replace(toParentIno, renamed);
  else entries.insert(toParentIno, renamed);
  if (addsDirectory) {
    parent.nlink--;
    toParent.nlink++;
    inode.content = toParentIno;
  }
  if (freesDirectory) toParent.nlink--;
  touch(inode, step);
  inodes.save(inode);
  saveParents(volume, parent, toParent, step);
  if (replaced) loseName(volume, replaced, step);
  return ["", attributesRow(inode)];
}

interface Both {
  parent: Inode;
  toParent: Inode;
  inode: Inode;
  replaced: Inode;
}

/** Each name keeps its place in its directory, and has the other file. */
function exchangeNames(
  volume: Volume,
  [, , parentIno, name, toParentIno, toName]: FileOperations["rename"],
  step: Step,
  { parent, toParent, inode, replaced }: Both,
): void {
  const { entries, inodes } = volume;
  const entry = entries.find(parentIno, name)!;
  const toEntry = entries.find(toParentIno, toName)!;
  entries.replace(parentIno, { ...entry, ino: replaced.ino, kind: kindOf(replaced) });
  entries.replace(toParentIno, { ...toEntry, ino: inode.ino, kind: kindOf(inode) });
  if (isDirectory(inode)) inode.content = toParentIno;
  if (isDirectory(replaced)) replaced.content = parentIno;
  const difference = Number(isDirectory(replaced)) - Number(isDirectory(inode));
  parent.nlink += difference;
  toParent.nlink -= difference;
  for (const one of [inode, replaced]) {
    touch(one, step);
    inodes.save(one);
  }
  saveParents(volume, parent, toParent, step);
}

function saveParents({ inodes }: Volume, parent: Inode, toParent: Inode, step: Step): void {
  touchContent(parent, step);
  inodes.save(parent);
  if (toParent === parent) return;
  touchContent(toParent, step);
  inodes.save(toParent);
}

function checkReplacing({ entries }: Volume, inode: Inode, replaced: Inode): void {
  if (!isDirectory(replaced)) {
    if (isDirectory(inode)) refuse("ENOTDIR");
    return;
  }
  if (!isDirectory(inode)) refuse("EISDIR");
  if (!entries.isEmpty(replaced.ino)) refuse("ENOTEMPTY");
}

/** Its entry ".." changes, which is a write to it. */
function checkReparenting(inode: Inode, by: By): void {
  if (isDirectory(inode) && !isAllowed(inode, by, mayWrite)) refuse("EACCES");
}

/** Whether a directory is `ino`, or anywhere below it. */
function isWithin({ inodes }: Volume, directory: Inode, ino: number): boolean {
  for (let at = directory; ; at = inodes.get(at.content)) {
    if (at.ino === ino) return true;
    if (at.ino === rootIno) return false;
  }
}
