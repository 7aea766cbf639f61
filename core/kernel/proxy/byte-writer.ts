/**
 * Writes msgpack into bytes that are already there. Messages are written field by field where they will be sent
 * from, since `encode()` of a whole array costs more than all the rest of sending one. What a body holds is the
 * library's business (body.ts).
 */
const float = new Float64Array(1);
const floatBytes = new Uint8Array(float.buffer);
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

export class ByteWriter {
  /** Whoever calls a method has seen to it that there is room. */
  bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** At most fifteen elements. */
  arrayHead(length: number): void {
    this.bytes[this.at++] = 0x90 | length;
  }

  /** An integer from 0 to 2^53 − 1, in its shortest form. Throws what nobody should meet. */
  uint(value: number): void {
    const { bytes } = this;
    const low = value >>> 0;
    if (low !== value) {
      if (!Number.isSafeInteger(value) || value < 0) throw new Error(`not a number for the wire: ${value}`);
      bytes[this.at++] = 0xcf;
      this.#uint32(Math.floor(value / 0x1_0000_0000));
      this.#uint32(low);
    } else if (low < 0x80) {
      bytes[this.at++] = low;
    } else if (low < 0x100) {
      bytes[this.at++] = 0xcc;
      bytes[this.at++] = low;
    } else if (low < 0x1_0000) {
      bytes[this.at++] = 0xcd;
      bytes[this.at++] = low >>> 8;
      bytes[this.at++] = low;
    } else {
      bytes[this.at++] = 0xce;
      this.#uint32(low);
    }
  }

  /** Any finite number from 0. */
  number(value: number): void {
    if (Number.isSafeInteger(value)) {
      this.uint(value);
      return;
    }
    float[0] = value;
    this.bytes[this.at++] = 0xcb;
    for (let i = 0; i < 8; i++) this.bytes[this.at++] = floatBytes[littleEndian ? 7 - i : i]!;
  }

  /** Up to 255 characters, all ASCII. */
  ascii(text: string): void {
    const { bytes } = this;
    if (text.length < 32) bytes[this.at++] = 0xa0 | text.length;
    else {
      bytes[this.at++] = 0xd9;
      bytes[this.at++] = text.length;
    }
    for (let i = 0; i < text.length; i++) bytes[this.at++] = text.charCodeAt(i);
  }

  /** What stands before `length` bytes. */
  binHead(length: number): void {
    const { bytes } = this;
    if (length < 0x100) {
      bytes[this.at++] = 0xc4;
      bytes[this.at++] = length;
    } else if (length < 0x1_0000) {
      bytes[this.at++] = 0xc5;
      bytes[this.at++] = length >>> 8;
      bytes[this.at++] = length;
    } else {
      bytes[this.at++] = 0xc6;
      this.#uint32(length);
    }
  }

  raw(source: Uint8Array): void {
    this.bytes.set(source, this.at);
    this.at += source.length;
  }

  #uint32(value: number): void {
    const { bytes } = this;
    bytes[this.at++] = value >>> 24;
    bytes[this.at++] = value >>> 16;
    bytes[this.at++] = value >>> 8;
    bytes[this.at++] = value;
  }
}
