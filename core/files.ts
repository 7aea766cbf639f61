/**
 * Small files, written without holding the event loop: beside, then renamed, so that a reader never sees half
 * of one. `durable` ones are fsynced with their directory and survive a power cut; the others survive kill -9.
 */
import { chmod, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { DvsError } from "./errors.ts";

let written = 0;

/** Mode 0600. Rejects with EXHAUSTED when the disk is full; the old content stays then. */
export async function writeSmallFile(
  path: string,
  content: string,
  options: { durable: boolean },
): Promise<void> {
  const temporary = `${path}.tmp-${process.pid}-${++written}`;
  try {
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(content);
      if (options.durable) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (e) {
    await rm(temporary, { force: true });
    if ((e as NodeJS.ErrnoException).code !== "ENOSPC") throw e;
    throw new DvsError("EXHAUSTED", `Cannot write ${path}: the disk is full. Free some space on it.`, {
      cause: e,
    });
  }
  if (!options.durable) return;
  const dir = await open(dirname(path), "r");
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}

/** A file as JSON; null when it is absent, empty or torn. */
export async function readJsonFile(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (e) {
    if (e instanceof SyntaxError || (e as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw e;
  }
}

/** A directory that only this user enters, whatever mode it had before. */
export async function makePrivateDir(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await chmod(path, 0o700);
}

/** Of a FileHandle. */
interface Writable {
  write(bytes: Uint8Array, offset: number, length: number): Promise<{ bytesWritten: number }>;
}

/** All of it: one write may take less, without an error, on a disk that is nearly full. */
export async function writeAll(file: Writable, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at);
    if (bytesWritten === 0) throw new Error(`nothing more is taken of ${bytes.length - at} bytes`);
    at += bytesWritten;
  }
}
