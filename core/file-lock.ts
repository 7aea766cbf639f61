/**
 * A lock between host processes that the operating system lets go of when the holder dies, however it dies: an
 * exclusive transaction on an SQLite file. (flock is in neither runtime; a file with a pid in it needs a judgement
 * whether that process is still the one, and two that judge at once both take it.) The file stays, empty.
 */
import { DatabaseSync } from "node:sqlite";

export interface FileLock {
  release(): void;
}

/** Held until they are released: a database that nobody refers to is collected, and its lock would go with it. */
const held = new Set<DatabaseSync>();

/** The lock, or null when another host process has it. */
export function tryLockFile(path: string): FileLock | null {
  const db = new DatabaseSync(path);
  try {
    db.exec("PRAGMA busy_timeout = 0");
    db.exec("BEGIN EXCLUSIVE");
    held.add(db);
    return {
      release: () => {
        if (held.delete(db)) db.close();
      },
    };
  } catch (e) {
    db.close();
    if (/locked|busy/i.test(String(e))) return null;
    throw e;
  }
}
