/** Attributes as those outside see them. */
import { type Attributes, kindMask, kinds } from "../attributes.ts";
import type { FileSystem } from "../file-system.ts";
import type { FileEntryJson } from "./ask.ts";

const names = new Map<number, FileEntryJson["kind"]>([
  [kinds.file, "file"],
  [kinds.directory, "directory"],
  [kinds.symlink, "symlink"],
  [kinds.fifo, "fifo"],
  [kinds.socket, "socket"],
]);

export async function entryOf(fs: FileSystem, name: string, of: Attributes): Promise<FileEntryJson> {
  const kind = names.get(of.mode & kindMask) ?? "file";
  return {
    name,
    kind,
    mode: of.mode & ~kindMask,
    nlink: of.nlink,
    uid: of.uid,
    gid: of.gid,
    size: of.size,
    allocated: of.allocated,
    mtime: [of.mtime.seconds, of.mtime.nanos],
    ino: of.ino,
    change: of.change,
    ...(kind === "symlink" && { target: await fs.readLink(of.ino) }),
  };
}
