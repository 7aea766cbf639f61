/** Small files that must be whole after a power cut: written beside, fsynced, renamed, directory fsynced. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { DvsError } from "./errors.ts";

/** Mode 0600. Throws EXHAUSTED when the disk is full; the old content stays then. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o600): void {
  const temporary = `${path}.tmp-${process.pid}`;
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  let fd: number | undefined;
  try {
    fd = openSync(temporary, "w", mode);
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
    closeSync(fd);
    fd = undefined;
    renameSync(temporary, path);
  } catch (e) {
    if (fd !== undefined) closeSync(fd);
    rmSync(temporary, { force: true });
    if ((e as NodeJS.ErrnoException).code === "ENOSPC") {
      throw new DvsError("EXHAUSTED", `Cannot write ${path}: the disk is full. Free some space and try again.`, { cause: e });
    }
    throw e;
  }
  const dir = openSync(dirname(path), "r");
  try {
    fsyncSync(dir);
  } finally {
    closeSync(dir);
  }
}
