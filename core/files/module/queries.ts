/** Answers about names and attributes, from the state as it is; those about bytes are in reading.ts. */
import { fileSizeMax } from "../../limits.ts";
import type { ModuleBlocks } from "../../state/module.ts";
import { isDirectory, kindOf, kinds } from "../attributes.ts";
import { nameIssue } from "../names.ts";
import type { By, FileQuery, FileResult } from "../operations.ts";
import { attributesRow, type Inode } from "./inodes.ts";
import { rangeOf } from "./locks.ts";
import { checkAllowed, mayExecute } from "./permissions.ts";
import { refuse } from "./refusal.ts";
import type { Volume } from "./volume.ts";

type Query<Name extends FileQuery[0]> = Extract<FileQuery, readonly [Name, ...unknown[]]>;

export function attributes({ inodes }: Volume, [, ino]: Query<"attributes">): FileResult {
  return ["", attributesRow(inodes.get(ino))];
}

export function lookup(volume: Volume, [, by, parent, name]: Query<"lookup">): FileResult {
  return ["", attributesRow(lookUp(volume, by, volume.inodes.get(parent), name))];
}

/** ENOENT, ENOTDIR, EACCES. */
export function lookUp({ inodes, entries }: Volume, by: By | null, parent: Inode, name: string): Inode {
  if (!isDirectory(parent)) refuse("ENOTDIR");
  const issue = nameIssue(name);
  if (issue) refuse(issue);
  if (by) checkAllowed(parent, by, mayExecute);
  if (name === ".") return parent;
  if (name === "..") return inodes.get(parent.content);
  const entry = entries.find(parent.ino, name) ?? refuse("ENOENT");
  return inodes.get(entry.ino);
}

export function entries(volume: Volume, [, ino, after, limit, withAttributes]: Query<"entries">): FileResult {
  volume.inodes.directory(ino);
  const rows = volume.entries.list(ino, after, limit);
  return [
    "",
    rows.map((entry) => [
      entry.name,
      entry.ino,
      entry.kind,
      entry.cookie,
      withAttributes === 1 ? attributesRow(volume.inodes.get(entry.ino)) : null,
    ]),
  ];
}

export function link({ inodes }: Volume, [, ino]: Query<"link">): FileResult {
  const inode = inodes.get(ino);
  return kindOf(inode) === kinds.symlink ? ["", inode.target] : refuse("EINVAL");
}

export function lockedBy(
  { locks }: Volume,
  [, ino, type, kind, start, end, owner, client]: Query<"lockedBy">,
): FileResult {
  const range = rangeOf(type, start, end);
  const found = locks.inWayOf({ ino, type, client, owner, ...range, kind, pid: 0 });
  if (!found) return ["", null];
  return ["", [found.kind, found.start, found.end === fileSizeMax ? -1 : found.end, found.pid]];
}

export function offset({ offsets }: Volume, [, id]: Query<"offset">): FileResult {
  return ["", (offsets.find(id) ?? refuse("EBADF")).offset];
}

/** Rejects beside a replica, which is then asked: it knows what the disks have free. */
export function usage(
  { counters }: Volume,
  blocks: ModuleBlocks | undefined,
): FileResult | Promise<FileResult> {
  const bytesFree = blocks?.bytesFree ? blocks.bytesFree() : fileSizeMax;
  if (bytesFree === null) return Promise.reject(new Error("what the disks have free is not known here"));
  const { bytes, bytesMax, inodes, inodesMax } = counters.stored();
  return ["", bytes, bytesMax, inodes, inodesMax, Math.min(bytesFree, fileSizeMax)];
}
