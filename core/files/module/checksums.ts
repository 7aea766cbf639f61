/** Checksums of a block, page by page: CRC-32, little endian, four bytes each. */
import { crc32 } from "../../checksum.ts";
import { filePageBytes } from "../../limits.ts";

export const checksumBytes = 4;

/** `begun`: those of the bytes that are before these in the block; `before` is how many. */
export function checksumsOf(bytes: Uint8Array, begun: Uint8Array = none, before = 0): Uint8Array {
  const pages = Math.ceil((before + bytes.length) / filePageBytes);
  const checksums = new Uint8Array(pages * checksumBytes);
  checksums.set(begun);
  const view = new DataView(checksums.buffer);
  let at = 0;
  for (let page = Math.floor(before / filePageBytes); page < pages; page++) {
    const room = (page + 1) * filePageBytes - (before + at);
    const isBegun = page * filePageBytes < before + at;
    const sum = isBegun ? view.getUint32(page * checksumBytes, true) : 0;
    view.setUint32(page * checksumBytes, crc32(bytes.subarray(at, at + room), sum), true);
    at += room;
  }
  return checksums;
}

/** Of pages from the first on, as they were read: the number of the first that is not what was written; −1: all are. */
export function firstDamaged(bytes: Uint8Array, checksums: Uint8Array): number {
  const view = new DataView(checksums.buffer, checksums.byteOffset, checksums.byteLength);
  for (let page = 0, at = 0; at < bytes.length; page++, at += filePageBytes) {
    const sum = crc32(bytes.subarray(at, at + filePageBytes));
    if (sum !== view.getUint32(page * checksumBytes, true)) return page;
  }
  return -1;
}

const none = new Uint8Array(0);
