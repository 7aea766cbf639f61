/** All that can be seen of a volume, path by path: to be compared with another one that should be the same. */
import { createHash } from "node:crypto";
import { isDirectory, isSymlink, kindOf, kinds } from "../../core/files/attributes.ts";
import { type FileSystem, rootIno } from "../../core/files/file-system.ts";

export interface TreeNode {
  mode: string;
  owner: string;
  size: number;
  allocated: number;
  nlink: number;
  times: string;
  /** SHA-256 of a file's bytes, or the target of a link. */
  content: string;
  /** The first path of the same inode. */
  same: string;
}

const pieceBytes = 1024 * 1024;

/** Directories that are changed meanwhile are left out by `skip`. */
export async function treeOf(
  fs: FileSystem,
  skip: (path: string) => boolean = () => false,
): Promise<Record<string, TreeNode>> {
  const tree: Record<string, TreeNode> = {};
  const first = new Map<number, string>();
  const walk = async (ino: number, path: string): Promise<void> => {
    const it = await fs.attributes(ino);
    if (!first.has(ino)) first.set(ino, path);
    const time = (of: { seconds: number; nanos: number }): string => `${of.seconds}.${of.nanos}`;
    tree[path] = {
      mode: it.mode.toString(8),
      owner: `${it.uid}:${it.gid}`,
      ...{ size: it.size, allocated: it.allocated, nlink: it.nlink },
      times: `${time(it.mtime)} ${time(it.ctime)}`,
      content: isSymlink(it)
        ? await fs.readLink(ino)
        : kindOf(it) === kinds.file
          ? await hashOf(fs, ino, it.size)
          : "",
      same: first.get(ino)!,
    };
    if (!isDirectory(it)) return;
    for (let after = 0; ;) {
      const entries = await fs.entries(ino, after, 500);
      for (const entry of entries) {
        const child = `${path === "/" ? "" : path}/${entry.name}`;
        if (!skip(child)) await walk(entry.ino, child);
      }
      if (entries.length === 0) break;
      after = entries.at(-1)!.cookie;
    }
  };
  await walk(rootIno, "/");
  return tree;
}

async function hashOf(fs: FileSystem, ino: number, size: number): Promise<string> {
  const hash = createHash("sha256");
  const file = await fs.open(ino, { read: true });
  try {
    for (let at = 0; at < size; at += pieceBytes)
      hash.update(await file.read(at, Math.min(pieceBytes, size - at)));
  } finally {
    await file.close();
  }
  return hash.digest("hex");
}
