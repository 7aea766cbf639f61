/** Who may do what with a file, by its permission bits: as `access(2)` judges. */
import { type Attributes, isDirectory } from "./attributes.ts";
import { FileError } from "./errno.ts";
import type { Credentials } from "./file-system.ts";

/** Bits of what is wanted, as in `access(2)`. */
export const access = { read: 4, write: 2, execute: 1 } as const;

export function mayAccess(
  of: Pick<Attributes, "mode" | "uid" | "gid">,
  who: Credentials,
  wanted: number,
): boolean {
  const { mode, uid, gid } = of;
  if (who.uid === 0) return (wanted & access.execute) === 0 || isDirectory(of) || (mode & 0o111) !== 0;
  const isOfGroup = who.gid === gid || (who.groups?.includes(gid) ?? false);
  const bits = who.uid === uid ? mode >> 6 : isOfGroup ? mode >> 3 : mode;
  return (bits & wanted) === wanted;
}

/** Throws EACCES. */
export function checkAccess(attributes: Attributes, who: Credentials, wanted: number): void {
  if (mayAccess(attributes, who, wanted)) return;
  throw new FileError("EACCES", `user ${who.uid} may not do that with inode ${attributes.ino}`);
}
