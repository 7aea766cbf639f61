/**
 * Reads msgpack strictly: each value has the type that is asked for, its shortest form, and lies within the frame.
 * Every method throws Malformed otherwise; nothing is allocated but what is returned.
 */
import { Malformed } from "./malformed.ts";

const float = new DataView(new ArrayBuffer(8));

export class ByteReader {
  bytes: Uint8Array = new Uint8Array();
  at = 0;
  end = 0;

  open(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** The bytes are not kept alive by this reader. */
  close(): void {
    this.bytes = none;
  }

  byte(): number {
    if (this.at >= this.end) throw new Malformed("cut short");
    return this.bytes[this.at++]!;
  }

  arrayHead(): number {
    const head = this.byte();
    if ((head & 0xf0) !== 0x90) throw new Malformed(`byte ${head} where an array of fields begins`);
    return head & 0x0f;
  }

  uint(): number {
    const head = this.byte();
    if (head < 0x80) return head;
    return this.#longUint(head);
  }

  #longUint(head: number): number {
    switch (head) {
      case 0xcc:
        return this.#atLeast(0x80, this.byte());
      case 0xcd:
        return this.#atLeast(0x100, this.#uint16());
      case 0xce:
        return this.#atLeast(0x1_0000, this.#uint32());
      case 0xcf: {
        const value = this.#uint32() * 0x1_0000_0000 + this.#uint32();
        if (value > Number.MAX_SAFE_INTEGER) throw new Malformed("number above 2^53 − 1");
        return this.#atLeast(0x1_0000_0000, value);
      }
      default:
        throw new Malformed(`byte ${head} where a number begins`);
    }
  }

  /** A finite number from 0. */
  number(): number {
    if (this.at < this.end && this.bytes[this.at] !== 0xcb) return this.uint();
    this.byte();
    for (let i = 0; i < 8; i++) float.setUint8(i, this.byte());
    const value = float.getFloat64(0);
    if (!Number.isFinite(value) || value < 0) throw new Malformed(`the number ${value}`);
    return value;
  }

  /** Printable ASCII, at most so many characters. */
  ascii(charsMax: number): string {
    const head = this.byte();
    const length = (head & 0xe0) === 0xa0 ? head & 0x1f : head === 0xd9 ? this.#atLeast(32, this.byte()) : -1;
    if (length < 0) throw new Malformed(`byte ${head} where a text begins`);
    if (length > charsMax)
      throw new Malformed(`a text of ${length} characters where ${charsMax} are the most`);
    let text = "";
    for (let i = 0; i < length; i++) {
      const unit = this.byte();
      if (unit < 0x20 || unit > 0x7e) throw new Malformed(`byte ${unit} in a text`);
      text += String.fromCharCode(unit);
    }
    return text;
  }

  /** A view of the next bytes. */
  bin(bytesMax: number): Uint8Array {
    const length = this.binHead();
    if (length > bytesMax) throw new Malformed(`${length} bytes where ${bytesMax} are the most`);
    return this.raw(length);
  }

  /** A copy of the next bytes, which shares no memory with the frame. */
  binCopy(bytesMax: number): Uint8Array {
    const length = this.binHead();
    if (length > bytesMax) throw new Malformed(`${length} bytes where ${bytesMax} are the most`);
    const { at } = this;
    if (length > this.end - at) throw new Malformed("cut short");
    this.at = at + length;
    return this.bytes.slice(at, at + length);
  }

  binHead(): number {
    const head = this.byte();
    switch (head) {
      case 0xc4:
        return this.byte();
      case 0xc5:
        return this.#atLeast(0x100, this.#uint16());
      case 0xc6:
        return this.#atLeast(0x1_0000, this.#uint32());
      default:
        throw new Malformed(`byte ${head} where bytes begin`);
    }
  }

  raw(length: number): Uint8Array {
    const { at } = this;
    if (length > this.end - at) throw new Malformed("cut short");
    this.at = at + length;
    return this.bytes.subarray(at, at + length);
  }

  #uint16(): number {
    return (this.byte() << 8) | this.byte();
  }
  #uint32(): number {
    return ((this.byte() << 24) | (this.byte() << 16) | (this.byte() << 8) | this.byte()) >>> 0;
  }

  #atLeast(least: number, value: number): number {
    if (value < least) throw new Malformed("not in its shortest form");
    return value;
  }
}

const none = new Uint8Array();
