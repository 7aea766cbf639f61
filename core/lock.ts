/** One host process at a time per directory: the second is refused, also when both start at once. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DvsError } from "./errors.ts";
import { tryLockFile, type FileLock } from "./file-lock.ts";

/**
 * `what` names the holder for people and its files in the directory: `agent`, `coordinator`. Throws CONFLICT, with the
 * holder's pid when known. The lock goes with its holder, however that ends.
 */
export function lockDirectory(dir: string, what: string): FileLock {
  const holder = join(dir, `${what}.pid`);
  const lock = tryLockFile(join(dir, `${what}.lock`));
  if (lock) {
    // Only a hint for people: what counts is the lock.
    writeFileSync(holder, String(process.pid), { mode: 0o600 });
    return lock;
  }
  const article = /^[aeiou]/.test(what) ? "an" : "a";
  throw new DvsError(
    "CONFLICT",
    `Cannot use directory ${dir}: ${article} ${what}${pidIn(holder)} runs on it. Stop that one first, or choose another.`,
  );
}

function pidIn(file: string): string {
  try {
    const pid = Number.parseInt(readFileSync(file, "utf8"), 10);
    return pid > 0 ? ` (pid ${pid})` : "";
  } catch {
    return "";
  }
}
