/**
 * One host process per directory. The lock is an exclusive transaction on an SQLite file: the operating system lets
 * go of it when the holder dies, however it dies, and two that start at once cannot both have it. (flock is in
 * neither runtime; a file with a pid in it would need a judgement about whether that process is still the one.)
 */
import { readFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { writeFileAtomic } from "./files.ts";
import { DvsError } from "./errors.ts";

/** Throws CONFLICT, naming the holder's pid when known. Returns the function that lets go. */
export function lockDirectory(dir: string, what: string): () => void {
  const holder = join(dir, `${what}.pid`);
  const db = new DatabaseSync(join(dir, `${what}.lock`));
  try {
    db.exec("PRAGMA busy_timeout = 0");
    db.exec("BEGIN EXCLUSIVE");
  } catch (e) {
    db.close();
    if (!/locked|busy/i.test(String(e))) throw e;
    throw new DvsError(
      "CONFLICT",
      `Cannot start a ${what} in ${dir}: another one${pidIn(holder)} runs there. Stop it first, or choose another directory.`,
      { cause: e },
    );
  }
  writeFileAtomic(holder, String(process.pid));
  return () => db.close();
}

function pidIn(file: string): string {
  try {
    return ` (pid ${Number(readFileSync(file, "utf8"))})`;
  } catch {
    return "";
  }
}
