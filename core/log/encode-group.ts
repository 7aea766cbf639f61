/** A group of records as the bytes of one write: a mark, then a frame for each. */
import {
  encodeHead,
  encodeMark,
  headBytes,
  type LogRecord,
  type Mark,
  markBytes,
  sealFrame,
} from "./frame.ts";
import { copiedBytesMax } from "./limits.ts";

export interface EncodedGroup {
  blocks: Uint8Array[];
  bytes: number;
  /** Of its last frame. */
  checksum: number;
}

export function groupBytes(records: readonly LogRecord[]): number {
  let bytes = markBytes;
  for (const record of records) bytes += headBytes + record.bytes.length;
  return bytes;
}

/** `seed`: the segment's. Large bodies are not copied: they must not change until the write is done. */
export function encodeGroup(records: readonly LogRecord[], mark: Mark, seed: number): EncodedGroup {
  let blockBytes = markBytes;
  for (const { bytes } of records)
    blockBytes += headBytes + (bytes.length <= copiedBytesMax ? bytes.length : 0);
  const block = new Uint8Array(blockBytes);
  const view = new DataView(block.buffer);
  const blocks: Uint8Array[] = [];
  let checksum = encodeMark(view, block, 0, mark, seed);
  let at = markBytes;
  let begin = 0;
  let bytes = markBytes;
  for (const record of records) {
    const body = record.bytes;
    encodeHead(view, at, record);
    bytes += headBytes + body.length;
    if (body.length <= copiedBytesMax) {
      block.set(body, at + headBytes);
      checksum = sealFrame(view, block, at, body.length, checksum);
      at += headBytes + body.length;
    } else {
      checksum = sealFrame(view, block, at, body, checksum);
      at += headBytes;
      blocks.push(block.subarray(begin, at), body);
      begin = at;
    }
  }
  if (begin < at) blocks.push(block.subarray(begin, at));
  return { blocks, bytes, checksum };
}
