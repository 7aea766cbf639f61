/**
 * Bodies of messages: bytes, or a plain value that msgpack can carry. One encoder and one decoder serve the whole
 * host process; both work synchronously on one body at a time.
 */
import { Decoder, Encoder } from "@msgpack/msgpack";
import { messageBytesMax } from "../../limits.ts";
import type { ByteReader } from "./byte-reader.ts";
import { Malformed } from "./malformed.ts";
import { skim } from "./skim.ts";

// The kernel has measured bodies before (core/kernel/message.ts); this only ends what would not end.
const encoderOptions = { maxDepth: 64, ignoreUndefined: true };
let encoder = new Encoder(encoderOptions);
const decoder = new Decoder();

/**
 * The value as msgpack, in a buffer that the next call overwrites. Throws what nobody should meet: the kernel has
 * refused what is no plain value or too large.
 */
export function encodeValue(value: unknown): Uint8Array {
  const bytes = encoder.encodeSharedRef(value);
  if (bytes.length <= messageBytesMax) return bytes;
  // Its buffer has grown to that size and would stay so.
  encoder = new Encoder(encoderOptions);
  throw new Error(`a body of ${bytes.length} bytes: ${messageBytesMax} are the most`);
}

/** Reads the body at the end of a message. What it returns shares no memory with the frame. Throws Malformed. */
export function readBody(reader: ByteReader): unknown {
  const { bytes, at, end } = reader;
  if (end - at > messageBytesMax + 5) throw new Malformed(`a body of ${end - at} bytes`);
  switch (at < end ? bytes[at] : 0) {
    case 0xc0:
      reader.at++;
      return null;
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return reader.binCopy(messageBytesMax);
  }
  const skimmed = skim(bytes, at, end);
  reader.at = skimmed.end;
  const value = skimmed.hasBytes ? bytes.slice(at, skimmed.end) : bytes.subarray(at, skimmed.end);
  try {
    return decoder.decode(value);
  } catch (e) {
    // Keys that are no strings, `__proto__`.
    throw new Malformed(`a body that cannot be decoded: ${(e as Error).message}`);
  }
}
