/** One agent per data directory: the second is refused, also when both start at once. */
import { readFileSync } from "node:fs";
import { DvsError } from "../errors.ts";
import { type FileLock, tryLockFile } from "../file-lock.ts";
import type { DataDir } from "./data-dir.ts";

/** Throws CONFLICT, naming the holder's pid when known, if another agent runs on this directory. */
export function lockDataDir(data: DataDir): FileLock {
  const lock = tryLockFile(data.lock);
  if (lock) return lock;
  throw new DvsError(
    "CONFLICT",
    `Cannot use data directory ${data.root}: an agent${holder(data)} runs on it. ` +
      "Stop that one first, or choose another --data.",
  );
}

function holder(data: DataDir): string {
  try {
    const { pid } = JSON.parse(readFileSync(data.agent, "utf8")) as { pid?: unknown };
    return typeof pid === "number" ? ` (pid ${pid})` : "";
  } catch {
    return "";
  }
}
