/**
 * `seed`: the image that a volume begins with, so many entries at a time. A file of it is an inode whose bytes are in the
 * blob stores of all nodes: what is written to it later takes the place of just those bytes. What somebody has made
 * at a path of the image meanwhile stays.
 */
import { isDirectory, kindMask, kinds } from "../../attributes.ts";
import { rootIno } from "../../file-system.ts";
import { nameIssue, targetIssue, utf8Bytes } from "../../names.ts";
import type { FileOperations, FileResult, SeedEntry } from "../../operations.ts";
import { directorySize, type Inode, touchContent } from "../inodes.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";

/** Parents of entries that follow one another are the same: looked up once. */
interface Parent {
  path: string;
  inode: Inode | null;
  isChanged: boolean;
}

export function seed(
  volume: Volume,
  [, digest, from, entries, last]: FileOperations["seed"],
  step: Step,
): FileResult {
  const { seeds } = volume;
  const known = seeds.find();
  if (known && known.digest !== digest) refuse("EEXIST");
  const so = known ?? { digest, entries: 0, done: 0 };
  // Somebody else seeds, too, or has: it goes on from there.
  if (so.done === 1 || so.entries !== from) return ["", so.entries, so.done];
  for (const entry of entries) checkEntry(entry);

  const parent: Parent = { path: "", inode: null, isChanged: false };
  for (const entry of entries) addEntry(volume, entry, step, parent);
  leaveParent(volume, parent, step);
  so.entries += entries.length;
  so.done = last;
  if (known) seeds.save(so);
  else seeds.begin(so);
  return ["", so.entries, so.done];
}

function checkEntry([path, mode, , content]: SeedEntry): void {
  if (!path.startsWith("/")) refuse("EINVAL");
  if (path !== "/" && path.slice(1).split("/").some(isNoName)) refuse("EINVAL");
  const kind = mode & kindMask;
  if (kind === kinds.symlink) {
    if (targetIssue(content)) refuse("EINVAL");
  } else if (kind === kinds.file) {
    if (!/^[0-9a-f]{64}$/.test(content)) refuse("EINVAL");
  } else if (kind !== kinds.directory) refuse("EINVAL");
}

function isNoName(name: string): boolean {
  return name === "." || name === ".." || nameIssue(name) !== null;
}

function addEntry(volume: Volume, [path, mode, size, content]: SeedEntry, step: Step, parent: Parent): void {
  const { inodes, entries, extents, counters, blobs } = volume;
  if (path === "/") {
    const root = inodes.get(rootIno);
    root.mode = kinds.directory | (mode & ~kindMask);
    inodes.save(root);
    return;
  }
  const slash = path.lastIndexOf("/");
  if (parent.inode === null || parent.path !== path.slice(0, slash)) {
    leaveParent(volume, parent, step);
    parent.path = path.slice(0, slash);
    parent.inode = directoryAt(volume, parent.path);
    parent.isChanged = false;
  }
  const name = path.slice(slash + 1);
  const directory = parent.inode;
  if (!directory || entries.find(directory.ino, name)) return;
  const ino = counters.nextId();
  const kind = mode & kindMask;
  const inode: Inode = {
    ...{ ino, mode, uid: 0, gid: 0, tail: 0, change: step.index },
    nlink: kind === kinds.directory ? 2 : 1,
    size: kind === kinds.directory ? directorySize : kind === kinds.symlink ? utf8Bytes(content) : size,
    allocated: kind === kinds.file ? size : 0,
    content: kind === kinds.directory ? directory.ino : ino,
    target: kind === kinds.symlink ? content : null,
    ...{ atime: step.seconds, mtime: step.seconds, ctime: step.seconds },
    ...{ atimeNanos: step.nanos, mtimeNanos: step.nanos, ctimeNanos: step.nanos },
  };
  inodes.insert(inode);
  entries.insert(directory.ino, { name, ino, kind, cookie: ino });
  parent.isChanged = true;
  if (isDirectory(inode)) directory.nlink++;
  counters.use(inode.allocated, 1);
  if (inode.allocated === 0) return;
  const segment = -blobs.rowOf(content);
  extents.put(ino, { start: 0, length: size, segment, position: 0, lead: 0, bytes: size, checksums: none });
}

function leaveParent({ inodes }: Volume, { inode, isChanged }: Parent, step: Step): void {
  if (!inode || !isChanged) return;
  touchContent(inode, step);
  inodes.save(inode);
}

/** Null: there is none any more. Symbolic links are not followed: an image has none on its paths. */
function directoryAt({ inodes, entries }: Volume, path: string): Inode | null {
  let at: Inode | undefined = inodes.get(rootIno);
  for (const name of path.split("/").slice(1)) {
    const entry = entries.find(at.ino, name);
    at = entry && inodes.find(entry.ino);
    if (!at || !isDirectory(at)) return null;
  }
  return at;
}

const none = new Uint8Array(0);
