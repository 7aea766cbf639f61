/**
 * Keys of what an operation changes and a query depends on: `i` + inode (attributes, content, link), `p` + inode (who
 * may look up names in it), `d` + inode (listing), `d` + inode + `/` + name, `l` + inode (locks), `o` + id (shared offsets).
 */
import type { FileOperation } from "../operations.ts";

export function inodeKey(ino: number): string {
  return `i${ino}`;
}
/** Mode and owner, which names in a directory are looked up by. */
export function permissionKey(ino: number): string {
  return `p${ino}`;
}
export function listingKey(ino: number): string {
  return `d${ino}`;
}
export function nameKey(parent: number, name: string): string {
  return `d${parent}/${name}`;
}
export function locksKey(ino: number): string {
  return `l${ino}`;
}
export function offsetKey(id: string): string {
  return `o${id}`;
}

/** By an operation, whatever the state is; null: any. */
export function touchedBy(operation: FileOperation): readonly string[] | null {
  switch (operation[0]) {
    case 1: // create
      return ofDirectory(operation[2], operation[3]);
    case 2: // link
      return [inodeKey(operation[2]), ...ofDirectory(operation[3], operation[4])];
    case 3: // unlink
    case 4: // removeDirectory
      return [inodeKey(operation[4]), ...ofDirectory(operation[2], operation[3])];
    case 5: {
      const [, , parent, name, toParent, toName, , ino, replaced] = operation;
      const keys = [...ofDirectory(parent, name), ...ofDirectory(toParent, toName), inodeKey(ino)];
      return replaced === 0 ? keys : [...keys, inodeKey(replaced)];
    }
    case 20: {
      const keys = ofDirectory(operation[2], operation[3]);
      return operation[4] === 0 ? keys : [...keys, inodeKey(operation[4])];
    }
    case 6: // setAttributes
      return [inodeKey(operation[2]), permissionKey(operation[2])];
    case 7: // write
      return [inodeKey(operation[2])];
    case 8: // open
      return [];
    case 9: // release: and what was locked
      return operation[1].map(locksKey);
    case 10: // lock
    case 11: // cancelLock
      return [locksKey(operation[1])];
    case 12: // makeOffset
      return [offsetKey(operation[2])];
    case 13: // joinOffset
    case 14: // takeOffset
    case 15: // seekOffset
    case 16: // leaveOffset
      return [offsetKey(operation[1])];
    case 17: // attend
    case 18: // setQuota: what a volume has free is told as it is applied
    case 32: // reap
      return [];
    case 33: // move: where bytes are, for those who keep that in mind
      return operation[2].map(([ino]) => inodeKey(ino));
    case 19: // seed
    case 34: // expire
      return null;
  }
}

function ofDirectory(parent: number, name: string): string[] {
  return [inodeKey(parent), listingKey(parent), nameKey(parent, name)];
}
