/**
 * A backup on its way into a replica's state, in a directory of its own beside the database, and never for longer than
 * the restore: `received.db` and `received.bytes`, as they came, and `pieces`, what is written to the log of the first:
 * length (4 bytes, big-endian), bytes.
 */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { makePrivateDir } from "../../files.ts";
import { operationBytesMax } from "../../replica/timings.ts";

/** What the helper says of it. */
export const Unpacked = z.union([
  z.object({ problem: z.string() }),
  z.object({
    /** The last record that the backup has. */
    index: z.number(),
    epoch: z.number(),
    pieces: z.number(),
    bytes: z.number(),
    /** In force when it was made. */
    levels: z.array(z.tuple([z.string(), z.number()])),
    /** What modules need, and what of `received.bytes` goes into each of their segments. */
    reserve: z.array(
      z.object({
        module: z.string(),
        ids: z.number(),
        segments: z.array(z.tuple([z.number(), z.number()])),
      }),
    ),
  }),
]);
/** That nothing is wrong with. */
export type Pieces = Exclude<Unpacked, { problem: string }>;
export type Unpacked = z.infer<typeof Unpacked>;

export function restoreDir(dataDir: string): string {
  return join(dataDir, "restore");
}
export function receivedPath(dataDir: string): string {
  return join(restoreDir(dataDir), "received.db");
}
/** Of all streams behind the database. */
export function receivedBytesPath(dataDir: string): string {
  return join(restoreDir(dataDir), "received.bytes");
}
export function piecesPath(dataDir: string): string {
  return join(restoreDir(dataDir), "pieces");
}

/** An empty one, whatever an earlier restore has left. */
export async function makeRestoreDir(dataDir: string): Promise<void> {
  await removeRestoreDir(dataDir);
  await makePrivateDir(restoreDir(dataDir));
}
export async function removeRestoreDir(dataDir: string): Promise<void> {
  await rm(restoreDir(dataDir), { recursive: true, force: true });
}

/** What the helper has written. */
export async function* readPieces(dataDir: string): AsyncGenerator<Uint8Array> {
  const path = piecesPath(dataDir);
  const file = await open(path, "r");
  try {
    const head = new Uint8Array(4);
    for (let at = 0; ;) {
      if ((await file.read(head, 0, 4, at)).bytesRead === 0) return;
      const length = new DataView(head.buffer).getUint32(0);
      if (length > operationBytesMax) throw new Error(`${path} has a piece of ${length} bytes at ${at}`);
      const piece = new Uint8Array(length);
      const { bytesRead } = await file.read(piece, 0, length, at + 4);
      if (bytesRead !== length) throw new Error(`${path} is cut short at ${at}`);
      at += 4 + length;
      yield piece;
    }
  } finally {
    await file.close();
  }
}

/** Bytes that came, in pieces of so many, and where in their segment they go. Rejects where there are fewer. */
export async function* readReceived(
  dataDir: string,
  from: number,
  length: number,
  pieceBytes: number,
): AsyncGenerator<{ position: number; bytes: Uint8Array }> {
  const path = receivedBytesPath(dataDir);
  const file = await open(path, "r");
  try {
    for (let position = 0; position < length; position += pieceBytes) {
      const bytes = new Uint8Array(Math.min(pieceBytes, length - position));
      for (let at = 0; at < bytes.length;) {
        const { bytesRead } = await file.read(bytes, at, bytes.length - at, from + position + at);
        if (bytesRead === 0) throw new Error(`${path} is cut short at ${from + position + at}`);
        at += bytesRead;
      }
      yield { position, bytes };
    }
  } finally {
    await file.close();
  }
}
