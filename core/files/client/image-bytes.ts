/**
 * Bytes of a file that a replica could not read, because they are the image's and its node has not got that (yet): read
 * from the image on this node.
 */
import type { Attributes } from "../attributes.ts";
import { FileError } from "../errno.ts";
import { attributesIn, bytesIn, numberIn, rowsIn, textIn } from "./results.ts";
import type { ReadBlob, Volume } from "./volume.ts";

/** So often it is looked again where somebody writes to the file meanwhile. */
const triesMax = 4;

/** Null: none of these bytes are an image's, or there is no image here. At most what may be asked for at once. */
export async function imageBytes(
  volume: Volume,
  ino: number,
  offset: number,
  length: number,
): Promise<Uint8Array | null> {
  const { readBlob } = volume;
  if (!readBlob) return null;
  const what = () => `read inode ${ino} at ${offset}`;
  for (let tries = 1; tries <= triesMax; tries++) {
    const before = await attributesOf(volume, ino);
    const end = Math.min(offset + length, before.size);
    const [found] = await volume.query(["extents", ino, offset, length], what);
    const extents = rowsIn(found, what);
    if (!extents.some(([, , segment]) => numberIn(segment, what) < 0)) return null;
    const pieces = await Promise.all(extents.map((extent) => pieceOf(volume, readBlob, ino, extent)));
    // All of it is of one moment, as the answer of a replica is.
    if ((await attributesOf(volume, ino)).change !== before.change) continue;
    // What no extent has is a hole.
    const bytes = new Uint8Array(Math.max(0, end - offset));
    for (const { at, piece } of pieces) bytes.set(piece, at - offset);
    return bytes;
  }
  return null;
}

async function pieceOf(
  volume: Volume,
  readBlob: ReadBlob,
  ino: number,
  [start, length, segment, position, lead]: readonly unknown[],
): Promise<{ at: number; piece: Uint8Array }> {
  const what = () => `read inode ${ino} at ${String(start)}`;
  const [at, count] = [numberIn(start, what), numberIn(length, what)];
  const row = -numberIn(segment, what);
  if (row <= 0) {
    const [bytes] = await volume.query(["read", ino, at, count], what);
    return { at, piece: bytesIn(bytes, what) };
  }
  const [digest] = await volume.query(["blob", row], what);
  const from = numberIn(position, what) + numberIn(lead, what);
  try {
    return { at, piece: await readBlob(textIn(digest, what), from, count) };
  } catch (cause) {
    throw new FileError("EIO", `cannot ${what()}: ${String(cause)}`);
  }
}

async function attributesOf(volume: Volume, ino: number): Promise<Attributes> {
  const what = () => `look at inode ${ino}`;
  const [row] = await volume.query(["attributes", ino], what);
  return attributesIn(row, what);
}
