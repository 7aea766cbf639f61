/**
 * The pack: many blobs in one body, streamed both ways. All integers are big-endian.
 *
 *   "dvspack1"                       8 bytes
 *   frame*                           1 byte kind, 32 bytes SHA-256, 8 bytes size, then `size` bytes of content
 *     kind 1 blob
 *     kind 2 absent                  the sender was asked for it and has no good copy; size 0
 *   end frame                        kind 0, zeroes, size = number of frames before it
 *
 * A body without the end frame was cut off; the blobs that came whole before the cut are good and kept. The reader
 * holds at most `smallBlobBytes` of `smallBlobsInFlight` blobs in memory, whatever sizes a header claims.
 */
import { hexOf, digestFromHex } from "./digest.ts";

export const packMagic: Uint8Array = new TextEncoder().encode("dvspack1");
export const frameHeadBytes = 41;

export const kindEnd = 0;
export const kindBlob = 1;
export const kindAbsent = 2;

/** Blobs up to here are read, verified and written whole, several at a time; larger ones go piece by piece. */
export const smallBlobBytes = 256 * 1024;
export const smallBlobsInFlight = 16;

export interface FrameHead {
  kind: number;
  digest: string;
  size: number;
}

const noDigest = digestFromHex("0".repeat(64));

export function encodeHead(kind: number, digest: string, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(frameHeadBytes);
  bytes[0] = kind;
  bytes.set(Uint8Array.fromHex(hexOf(digest)), 1);
  new DataView(bytes.buffer).setBigUint64(33, BigInt(size));
  return bytes;
}

export function encodeEnd(frames: number): Uint8Array<ArrayBuffer> {
  return encodeHead(kindEnd, noDigest, frames);
}

/** Reads a head; a size too large for a number becomes Infinity, which every limit refuses. */
export function decodeHead(bytes: Uint8Array): FrameHead {
  const view = new DataView(bytes.buffer, bytes.byteOffset, frameHeadBytes);
  const size = view.getBigUint64(33);
  return {
    kind: view.getUint8(0),
    digest: digestFromHex(bytes.subarray(1, 33).toHex()),
    size: size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : Infinity,
  };
}
