/**
 * A blob as a file: `<dir>/ab/cdef…`, named by the hex digits of its SHA-256. The owner of the directory (agent or
 * coordinator) writes through BlobStore; containers on the same node only read, with the functions here.
 */
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Hasher, digestOfLarge, hashPieceBytes, hexOf } from "./digest.ts";
import { codeOf } from "./disk.ts";

export type BlobState = "good" | "missing" | "corrupt";

export function blobPath(dir: string, digest: string): string {
  const hex = hexOf(digest);
  return join(dir, hex.slice(0, 2), hex.slice(2));
}

/** Opens for reading; null where there is no such file. */
export async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, "r");
  } catch (e) {
    if (codeOf(e) === "ENOENT") return null;
    throw e;
  }
}

/**
 * The content, if it is what the digest says and within `bytesMax`. A file that the disk cannot read back (EIO) is
 * as corrupt as one with other content.
 */
export async function readVerified(
  path: string,
  digest: string,
  bytesMax: number,
): Promise<Uint8Array<ArrayBuffer> | "missing" | "corrupt"> {
  const file = await openIfThere(path);
  if (!file) return "missing";
  try {
    const { size } = await file.stat();
    if (size > bytesMax) return "corrupt";
    const bytes = new Uint8Array(size);
    if ((await readFully(file, bytes, 0)) < size) return "corrupt";
    return (await digestOfLarge(bytes)) === digest ? bytes : "corrupt";
  } catch (e) {
    if (codeOf(e) === "EIO") return "corrupt";
    throw e;
  } finally {
    await file.close();
  }
}

/** Whether an open file has the content that the digest says. `paced` is awaited with the bytes of each piece. */
export async function verifyHandle(
  file: FileHandle,
  digest: string,
  paced?: (bytes: number) => Promise<void>,
): Promise<boolean> {
  const hasher = new Hasher();
  const buffer = new Uint8Array(hashPieceBytes);
  try {
    for (let at = 0; ;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) return hasher.digest() === digest;
      hasher.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
      await paced?.(bytesRead);
    }
  } catch (e) {
    if (codeOf(e) === "EIO") return false;
    throw e;
  }
}

export async function verifyFile(
  path: string,
  digest: string,
  paced?: (bytes: number) => Promise<void>,
): Promise<BlobState> {
  const file = await openIfThere(path);
  if (!file) return "missing";
  try {
    return (await verifyHandle(file, digest, paced)) ? "good" : "corrupt";
  } finally {
    await file.close();
  }
}

/** Fills `bytes` from position `at`; returns how many there were. */
async function readFully(file: FileHandle, bytes: Uint8Array, at: number): Promise<number> {
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, at + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}
