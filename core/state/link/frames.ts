/**
 * Messages on the links of state processes: a msgpack array after four bytes of length, big-endian. Few kinds, and the
 * large ones are records, which are bytes already; so @msgpack/msgpack as it is, with one encoder for all.
 */
import { Decoder, Encoder } from "@msgpack/msgpack";
import { Malformed } from "../../kernel/proxy/malformed.ts";
import { decodeQuickly } from "./quick-decoder.ts";

/** What a message is before anybody has looked at its fields. */
export type Fields = readonly unknown[];

const headBytes = 4;
const encoder = new Encoder({ initialBufferSize: 64 * 1024, ignoreUndefined: false });

/** A whole frame, which the caller may keep. */
export function encodeFrame(fields: Fields): Uint8Array {
  const body = encoder.encodeSharedRef(fields);
  const frame = new Uint8Array(headBytes + body.length);
  // Without a DataView, which costs as much as the rest: each takes the array's buffer out into an object of its own.
  frame[0] = body.length >>> 24;
  frame[1] = body.length >>> 16;
  frame[2] = body.length >>> 8;
  frame[3] = body.length;
  frame.set(body, headBytes);
  return frame;
}

/** From here on bytes at the end of a message are not copied into its frame: a write of their own costs less. */
export const ownWriteBytes = 32 * 1024;
const bin32 = 0xc6;
const binHeadBytes = 5;
/** Of an array in its shortest form. */
const fieldsMax = 15;
/** A message, and an operation in it. */
const nestedMax = 2;

/**
 * As `encodeFrame`, in parts to be sent one after the other. The last may be bytes of the message itself: those at its
 * end, or at the end of what is at its end, as an operation that writes to a file has them.
 */
export function encodeParts(fields: Fields): Uint8Array[] {
  const own = ownBytes(fields);
  if (!own) return [encodeFrame(fields)];
  const { arrays, bytes } = own;
  // Each without its last field, which comes behind it.
  const heads = arrays.map((array) => encoder.encode(array.slice(0, -1)));
  const before = heads.reduce((sum, { length }) => sum + length, 0);
  const head = new Uint8Array(headBytes + before + binHeadBytes);
  const view = new DataView(head.buffer);
  view.setUint32(0, before + binHeadBytes + bytes.length);
  let at = headBytes;
  for (const encoded of heads) {
    head.set(encoded, at);
    // One field more than was encoded.
    head[at]!++;
    at += encoded.length;
  }
  view.setUint8(at, bin32);
  view.setUint32(at + 1, bytes.length);
  return [head, bytes];
}

/** Large bytes at the end of short arrays within one another; null: there are none. */
function ownBytes(fields: Fields): { arrays: Fields[]; bytes: Uint8Array } | null {
  const arrays: Fields[] = [];
  for (let last: unknown = fields; Array.isArray(last) && last.length <= fieldsMax; last = last.at(-1)) {
    if (arrays.push(last) > nestedMax) return null;
    const bytes: unknown = last.at(-1);
    if (bytes instanceof Uint8Array) return bytes.length < ownWriteBytes ? null : { arrays, bytes };
  }
  return null;
}

/** Takes a stream apart. Memory: one frame, at most `bytesMax`. */
export class FrameSplitter {
  /** Raised when the peer has proved who it is. */
  bytesMax: number;
  readonly #decoder = new Decoder({ maxExtLength: 0, maxMapLength: 65_536, maxArrayLength: 1_048_576 });
  readonly #head = new Uint8Array(headBytes);
  #headBytes = 0;
  #body: Uint8Array | null = null;
  #at = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /**
   * `onFields` returns false: nothing further of this stream is wanted. Byte fields lie in `chunk`, which must not
   * be used for anything else then. Throws Malformed, and must not be fed again.
   */
  feed(chunk: Uint8Array, onFields: (fields: Fields) => boolean): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body) {
        const take = Math.min(this.#body.length - this.#at, chunk.length - at);
        this.#body.set(chunk.subarray(at, at + take), this.#at);
        this.#at += take;
        at += take;
        if (this.#at < this.#body.length) return;
        const body = this.#body;
        this.#body = null;
        if (!onFields(this.#decode(body))) return;
        continue;
      }
      while (this.#headBytes < headBytes && at < chunk.length) this.#head[this.#headBytes++] = chunk[at++]!;
      if (this.#headBytes < headBytes) return;
      this.#headBytes = 0;
      const head = this.#head;
      const length = ((head[0]! << 24) | (head[1]! << 16) | (head[2]! << 8) | head[3]!) >>> 0;
      if (length > this.bytesMax) {
        throw new Malformed(`a frame of ${length} bytes: ${this.bytesMax} are the most`);
      }
      if (length <= chunk.length - at) {
        if (!onFields(this.#decode(chunk.subarray(at, at + length)))) return;
        at += length;
      } else {
        this.#body = new Uint8Array(length);
        this.#at = 0;
      }
    }
  }

  #decode(body: Uint8Array): Fields {
    let value = decodeQuickly(body);
    try {
      if (value === undefined) value = this.#decoder.decode(body);
    } catch (e) {
      throw new Malformed((e as Error).message);
    }
    if (!Array.isArray(value) || typeof value[0] !== "number")
      throw new Malformed("a frame without a number");
    return value;
  }
}
