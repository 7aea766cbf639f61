/** Takes a directory's content away, whatever is in it: many at a time, and page by page, however large it is. */
import { fileEntriesMax, putsAheadMax } from "../../limits.ts";
import { kinds } from "../attributes.ts";
import { FileError } from "../errno.ts";
import type { FileSystem } from "../file-system.ts";

/** What somebody else removes meanwhile is gone all the same; what is added meanwhile may be left. */
export async function removeAll(fs: FileSystem, ino: number): Promise<void> {
  for (let after = 0; ;) {
    const entries = await fs.entries(ino, after, fileEntriesMax);
    if (entries.length === 0) return;
    after = entries.at(-1)!.cookie;
    const removers = Array.from({ length: putsAheadMax }, async () => {
      for (let entry = entries.pop(); entry; entry = entries.pop()) {
        const { name, ino: child, kind } = entry;
        if (kind !== kinds.directory) await gone(fs.unlink(ino, name));
        else {
          await gone(removeAll(fs, child));
          await gone(fs.removeDirectory(ino, name));
        }
      }
    });
    await Promise.all(removers);
  }
}

async function gone(removed: Promise<void>): Promise<void> {
  try {
    await removed;
  } catch (e) {
    if (!(e instanceof FileError) || (e.code !== "ENOENT" && e.code !== "ESTALE")) throw e;
  }
}
