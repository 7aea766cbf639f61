/**
 * How long the body of a message is (RFC 9112 section 6), from its fields. Every way in which two readers could find
 * different ends is refused: that is what request smuggling lives on.
 */
import { ascii, equalsIgnoringCase, isDigit } from "./bytes.ts";
import { type Fields, Kind } from "./fields.ts";

const chunkedCoding = ascii("chunked");
/** Fifteen digits are an exact number still; a body that long lasts a year at 30 MB/s. */
const digitsMax = 15;

export class Framing {
  /** Bytes of the body, -1 when no Content-Length says it. */
  length = -1;
  chunked = false;
  refusal = "";
  /** A coding that may be legal but is not understood, rather than a malformed message. */
  unknownCoding = false;

  /** False when refused. */
  read(bytes: Uint8Array, fields: Fields): boolean {
    this.length = -1;
    this.chunked = false;
    this.unknownCoding = false;
    let codings = 0;
    for (let i = 0; i < fields.count; i++) {
      const kind = fields.kind[i];
      if (kind === Kind.contentLength) {
        if (this.length !== -1) return this.#refuse("more than one Content-Length");
        if (!this.#readLength(bytes, fields.valueStart[i]!, fields.valueEnd[i]!)) return false;
      } else if (kind === Kind.transferEncoding) {
        if (++codings > 1) return this.#refuse("more than one Transfer-Encoding");
        if (!this.#readCoding(bytes, fields.valueStart[i]!, fields.valueEnd[i]!)) return false;
      }
    }
    if (codings > 0 && this.length !== -1) {
      return this.#refuse("Content-Length together with Transfer-Encoding");
    }
    return true;
  }

  #readLength(bytes: Uint8Array, start: number, end: number): boolean {
    if (start === end) return this.#refuse("an empty Content-Length");
    if (end - start > digitsMax) return this.#refuse("a Content-Length of more than 15 digits");
    let n = 0;
    for (let at = start; at < end; at++) {
      if (isDigit[bytes[at]!] !== 1) return this.#refuse("a Content-Length that is not a number");
      n = n * 10 + bytes[at]! - 48;
    }
    this.length = n;
    return true;
  }

  #readCoding(bytes: Uint8Array, start: number, end: number): boolean {
    this.chunked = equalsIgnoringCase(bytes, start, end, chunkedCoding);
    if (this.chunked) return true;
    const text = Buffer.from(bytes.subarray(start, end)).toString("latin1").toLowerCase();
    this.unknownCoding = /^[a-z0-9-]+[ \t]*,[ \t]*chunked$/.test(text) && !text.startsWith("chunked");
    return this.#refuse("a Transfer-Encoding other than chunked");
  }

  #refuse(reason: string): false {
    this.refusal = reason;
    return false;
  }
}
