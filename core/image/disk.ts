/** What a file system can answer, as errors for people. */
import { mkdir, statfs } from "node:fs/promises";
import { DvsError } from "../errors.ts";

/** The `code` of an error of node:fs: `ENOENT`. */
export function codeOf(e: unknown): string | undefined {
  const code = (e as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

export function isFull(e: unknown): boolean {
  const code = codeOf(e);
  return code === "ENOSPC" || code === "EDQUOT";
}

/** Bytes that this user may still write below `dir`, or making it where it has gone. */
export async function freeBytes(dir: string): Promise<number> {
  const s = await statfs(dir).catch(async (e: unknown) => {
    if (codeOf(e) !== "ENOENT") throw e;
    await mkdir(dir, { recursive: true });
    return statfs(dir);
  });
  return s.bavail * s.bsize;
}

/** The error of a full disk; `needed` is what was to be written in all, when that is known. */
export async function diskFull(
  what: string,
  dir: string,
  needed: number | undefined,
  cause: unknown,
): Promise<DvsError> {
  const free = await freeBytes(dir).catch(() => 0);
  return new DvsError(
    "EXHAUSTED",
    `Cannot store ${what} in ${dir}: ${needed === undefined ? "its bytes" : `${needed} bytes`} are needed, ${free} are free. ` +
      "Free space there, or remove images that nothing uses with `dvs image rm`.",
    { cause },
  );
}
