/**
 * How records lie in a segment: a chain of frames, each with the checksum of itself and of the chain before it.
 *
 *   0  u32  magic: record or mark
 *   4  u32  checksum: CRC-32 of all that follows, begun with the checksum of the frame before
 *   8  u32  bytes of the body
 *  12  u48  record: its epoch.  mark: the epoch of the record before it, 0 when there was never one
 *  18  u48  record: its index.  mark: the index of the record that comes next
 *  24       body
 *
 * A *mark* stands at the begin of a segment and before each group of records that is written at once. It can be
 * checked without what is before it, so that reading finds its way again behind damage; and it tells up to which index
 * the log was durable when it was written. This is how damage is told from a torn tail: a frame that does not check
 * although a later mark says that it was durable was acknowledged, and must not be cut away.
 *
 *   mark's body:  24 u48 durable index, 30 u32 checksum of the frame before (0: none), 34 u48 position in the segment
 */
import { crc32 } from "../checksum.ts";

export const headBytes = 24;
export const markBytes = headBytes + 16;
/** "dvR1" and "dvM1", little endian. */
export const recordMagic = 0x31527664;
export const markMagic = 0x314d7664;
export const markMagicBytes = new Uint8Array([0x64, 0x76, 0x4d, 0x31]);

const checkedFrom = 8;

export interface LogRecord {
  epoch: number;
  /** From 1 without gaps. */
  index: number;
  bytes: Uint8Array;
}

export interface Mark {
  /** Of the record before. */
  epoch: number;
  nextIndex: number;
  /** 0: nothing was durable. */
  durable: number;
  /** Checksum of the frame before in this segment, 0 at its begin. */
  previous: number;
  position: number;
}

/** What marks of one segment are begun with, so that neither those of another disk nor of another segment check. */
export function segmentSeed(disk: string, firstIndex: number): number {
  return crc32(`${disk} ${firstIndex}`);
}

/** Writes it at `at` and returns its checksum. */
export function encodeMark(view: DataView, bytes: Uint8Array, at: number, mark: Mark, seed: number): number {
  view.setUint32(at, markMagic, true);
  view.setUint32(at + 8, markBytes - headBytes, true);
  setUint48(view, at + 12, mark.epoch);
  setUint48(view, at + 18, mark.nextIndex);
  setUint48(view, at + 24, mark.durable);
  view.setUint32(at + 30, mark.previous, true);
  setUint48(view, at + 34, mark.position);
  const checksum = crc32(bytes.subarray(at + checkedFrom, at + markBytes), seed);
  view.setUint32(at + 4, checksum, true);
  return checksum;
}

/** The mark at `at` of bytes that begin at `position` of the segment; null when there is none that checks. */
export function readMark(bytes: Uint8Array, at: number, position: number, seed: number): Mark | null {
  if (at + markBytes > bytes.length) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(at, true) !== markMagic) return null;
  if (view.getUint32(at + 8, true) !== markBytes - headBytes) return null;
  if (crc32(bytes.subarray(at + checkedFrom, at + markBytes), seed) !== view.getUint32(at + 4, true))
    return null;
  const mark = {
    epoch: getUint48(view, at + 12),
    nextIndex: getUint48(view, at + 18),
    durable: getUint48(view, at + 24),
    previous: view.getUint32(at + 30, true),
    position: getUint48(view, at + 34),
  };
  return mark.position === position + at ? mark : null;
}

/** Writes the head of a record's frame; the body follows it. */
export function encodeHead(view: DataView, at: number, record: LogRecord): void {
  view.setUint32(at, recordMagic, true);
  view.setUint32(at + 8, record.bytes.length, true);
  setUint48(view, at + 12, record.epoch);
  setUint48(view, at + 18, record.index);
}

/** Of a head that stands at `at`, and its body, which is `body` or follows it. Puts the checksum into the head. */
export function sealFrame(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  body: Uint8Array | number,
  previous: number,
): number {
  const inPlace = typeof body === "number" ? body : 0;
  let checksum = crc32(bytes.subarray(at + checkedFrom, at + headBytes + inPlace), previous);
  if (typeof body !== "number") checksum = crc32(body, checksum);
  view.setUint32(at + 4, checksum, true);
  return checksum;
}

/** Whether the frame of so many bytes in all checks as the one after `previous`. */
export function frameChecks(bytes: Uint8Array, at: number, length: number, previous: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, headBytes);
  return crc32(bytes.subarray(at + checkedFrom, at + length), previous) === view.getUint32(4, true);
}

export function getUint48(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint16(at + 4, true) * 0x1_0000_0000;
}

export function setUint48(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint16(at + 4, Math.floor(value / 0x1_0000_0000), true);
}
