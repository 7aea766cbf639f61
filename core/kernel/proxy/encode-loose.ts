/** A lossy message as a frame of its own: it is written when there is a connection, or forgotten. */
import { messageHeadBytesMax } from "../../limits.ts";
import type { KernelMessage } from "../messages.ts";
import { ByteWriter } from "./byte-writer.ts";
import { encodeFields, Long } from "./encode.ts";
import { frameHeadBytes, frameKinds, writeFrameHead } from "./frame.ts";
import type { WireRow } from "./rows.ts";

const long = new Long();
const w = new ByteWriter(new Uint8Array(frameHeadBytes + messageHeadBytesMax));

export function encodeLoose(row: WireRow, message: KernelMessage): Uint8Array {
  w.at = frameHeadBytes;
  encodeFields(w, row, message, long);
  writeFrameHead(w.bytes, 0, frameKinds.loose, w.at - frameHeadBytes);
  return w.bytes.slice(0, w.at);
}
