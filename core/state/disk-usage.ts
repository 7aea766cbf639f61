/** Bytes that a replica has on its disk, as the file system counts them: segments are allocated ahead. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

const blockBytes = 512;

/** Files that go meanwhile count as nothing. */
export async function diskUsage(dir: string): Promise<number> {
  let bytes = 0;
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) bytes += await diskUsage(path);
    else bytes += ((await stat(path).catch(() => null))?.blocks ?? 0) * blockBytes;
  }
  return bytes;
}
