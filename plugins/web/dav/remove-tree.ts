/** Takes a tree apart, from its leaves on; what others have removed meanwhile is as well. */
import { isDirectory, kinds } from "../../../core/files/attributes.ts";
import { FileError } from "../../../core/files/errno.ts";
import type { FileSystem } from "../../../core/files/file-system.ts";
import { lookupOrNull } from "../../../core/files/paths.ts";

const entriesAtOnce = 256;
/** Removed at the same time. */
const atOnce = 8;

/** Ends early where the signal is aborted. */
export async function removeTree(
  fs: FileSystem,
  parent: number,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const found = await lookupOrNull(fs, parent, name);
  if (!found) return;
  if (isDirectory(found)) {
    await removeContent(fs, found.ino, signal);
    if (!signal.aborted) await gone(() => fs.removeDirectory(parent, name));
  } else await gone(() => fs.unlink(parent, name));
}

async function removeContent(fs: FileSystem, ino: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    // What was listed is removed, so the next ones are the first again.
    const entries = await fs.entries(ino, 0, entriesAtOnce);
    if (entries.length === 0) return;
    for (let i = 0; i < entries.length && !signal.aborted; i += atOnce) {
      await Promise.all(
        entries.slice(i, i + atOnce).map(async (entry) => {
          if (entry.kind === kinds.directory) return removeTree(fs, ino, entry.name, signal);
          return gone(() => fs.unlink(ino, entry.name));
        }),
      );
    }
  }
}

async function gone(remove: () => Promise<void>): Promise<void> {
  try {
    await remove();
  } catch (e) {
    if (!(e instanceof FileError) || (e.code !== "ENOENT" && e.code !== "ESTALE")) throw e;
  }
}
