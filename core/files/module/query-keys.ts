/**
 * Keys that the answer of a query depends on. Which inode a name has is part of the state: so these are the keys of the
 * answer as it would be now, and whoever has read asks again whether they are still the same.
 */
import { isDirectory } from "../attributes.ts";
import type { By, FileQuery } from "../operations.ts";
import { FileRefusal } from "./refusal.ts";
import { inodeKey, listingKey, locksKey, nameKey, offsetKey, permissionKey } from "./touched.ts";
import type { Volume } from "./volume.ts";
import { walk } from "./walk.ts";

/** More keys than these are not looked at one by one. */
const keysMax = 512;

const byInode: ReadonlySet<FileQuery[0]> = new Set([
  "attributes",
  "link",
  "read",
  "extents",
  "entries",
  "lockedBy",
]);

/** Null: any. */
export function queryKeys(volume: Volume, query: FileQuery): readonly string[] | null {
  const [kind, ino] = query;
  // Whoever names an inode that is not there has heard of it from somebody who is ahead: no operation that makes an
  // inode can say which it will be.
  if (byInode.has(kind) && !volume.inodes.find(ino as number)) return null;
  switch (query[0]) {
    case "attributes":
    case "link":
    case "read":
    case "extents":
      return [inodeKey(query[1])];
    case "lookup":
      return lookupKeys(volume, query[1], query[2], query[3]);
    case "entries":
      return listingKeys(volume, query);
    case "lockedBy":
      return [locksKey(query[1])];
    case "offset":
      return [offsetKey(query[1])];
    case "blob":
    case "usage":
      return [];
    case "path":
      return pathKeys(volume, query);
  }
}

function lookupKeys(
  { inodes, entries }: Volume,
  by: By | null,
  parent: number,
  name: string,
): string[] | null {
  if (!inodes.find(parent)) return null;
  const keys = [nameKey(parent, name)];
  if (by && by[0] !== 0) keys.push(permissionKey(parent));
  if (name === "." || name === "..") keys.push(inodeKey(parent));
  const found = name === ".." ? inodes.find(parent)?.content : entries.find(parent, name)?.ino;
  if (found !== undefined) keys.push(inodeKey(found));
  return keys;
}

function listingKeys(
  { entries }: Volume,
  [, ino, after, limit, withAttributes]: Extract<FileQuery, readonly ["entries", ...unknown[]]>,
): string[] | null {
  const keys = [listingKey(ino), inodeKey(ino)];
  if (withAttributes === 0) return keys;
  for (const entry of entries.list(ino, after, limit)) keys.push(inodeKey(entry.ino));
  return keys.length > keysMax ? null : keys;
}

function pathKeys(
  volume: Volume,
  [, by, path, follow]: Extract<FileQuery, readonly ["path", ...unknown[]]>,
): string[] | null {
  const keys: string[] = [];
  try {
    const found = walk(volume, by, path, follow === 1, (inode, name) => {
      keys.push(permissionKey(inode.ino));
      if (isDirectory(inode)) keys.push(nameKey(inode.ino, name));
    });
    keys.push(inodeKey(found.ino));
  } catch (e) {
    // The keys so far are what says that there is no such path.
    if (!(e instanceof FileRefusal)) throw e;
  }
  return keys.length > keysMax ? null : keys;
}
