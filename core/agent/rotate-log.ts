/** Logs of host processes are bounded: at each start a large one becomes `.1`, and the one before that goes. */
import { rename, stat } from "node:fs/promises";
import { MiB } from "../limits.ts";

const logBytesMax = 16 * MiB;

export async function rotateLog(path: string): Promise<void> {
  try {
    if ((await stat(path)).size > logBytesMax) await rename(path, `${path}.1`);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ENOENT") throw e;
  }
}
