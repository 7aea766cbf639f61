/** Who may what, after POSIX: owner, group, others; uid 0 everything. */
import { isDirectory, kindOf, kinds } from "../attributes.ts";
import type { By } from "../operations.ts";
import { type Inode } from "./inodes.ts";
import { refuse } from "./refusal.ts";

export const mayRead = 4;
export const mayWrite = 2;
export const mayExecute = 1;

export const setUser = 0o4000;
export const setGroup = 0o2000;
export const sticky = 0o1000;
const groupExecute = 0o010;

export function isAllowed({ mode, uid, gid }: Inode, by: By, wanted: number): boolean {
  if (by[0] === 0) return true;
  const shift = by[0] === uid ? 6 : isMember(by, gid) ? 3 : 0;
  return ((mode >> shift) & wanted) === wanted;
}

export function checkAllowed(inode: Inode, by: By, wanted: number): void {
  if (!isAllowed(inode, by, wanted)) refuse("EACCES");
}

/** Names in it may be made and removed, at least by those who own what they name. */
export function checkNaming(directory: Inode, by: By): void {
  checkAllowed(directory, by, mayWrite | mayExecute);
}

/** In a sticky directory only the owner of a file, or of the directory, removes its name. */
export function checkRemoving(directory: Inode, inode: Inode, by: By): void {
  checkNaming(directory, by);
  const isFree = (directory.mode & sticky) === 0 || by[0] === 0;
  if (!isFree && by[0] !== inode.uid && by[0] !== directory.uid) refuse("EPERM");
}

export function isMember(by: By, gid: number): boolean {
  return by[1] === gid || by[2].includes(gid);
}

/** May set the group of a file, or keep its set-group-ID bit. */
export function isMemberOrRoot(by: By, gid: number): boolean {
  return by[0] === 0 || isMember(by, gid);
}

/** The mode of a regular file after somebody has written to it or given it away: what it ran as is no longer vouched for. */
export function withoutSetId(mode: number): number {
  const kept = mode & ~setUser;
  return (kept & groupExecute) !== 0 ? kept & ~setGroup : kept;
}

/** Group and mode of what is made in a directory. */
export function inherited(directory: Inode, mode: number, by: By): { gid: number; mode: number } {
  if ((directory.mode & setGroup) === 0) return { gid: by[1], mode };
  if (isDirectory({ mode })) return { gid: directory.gid, mode: mode | setGroup };
  const isProgram = (mode & setGroup) !== 0 && (mode & groupExecute) !== 0;
  const isKept = !isProgram || isMemberOrRoot(by, directory.gid);
  return { gid: directory.gid, mode: isKept ? mode : mode & ~setGroup };
}

/** Written to by whoever is not uid 0. */
export function clearSetId(inode: Inode, by: By): void {
  if (by[0] !== 0 && kindOf(inode) === kinds.file) inode.mode = withoutSetId(inode.mode);
}
