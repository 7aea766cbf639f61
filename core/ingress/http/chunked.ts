/**
 * The chunked coding (RFC 9112 section 7.1), checked byte by byte while the bytes pass: what is forwarded is what was
 * checked, in the sender's own framing. Chunk extensions are refused: nobody uses them, and readers disagree about
 * where they end. Trailer fields are checked like header fields, and must not be ones that frame or route.
 */
import { CR, COLON, LF, hexValue, isToken, isValue } from "./bytes.ts";

/** Thirteen hex digits are an exact number still. */
const sizeDigitsMax = 13;
const trailerBytesMax = 8 * 1024;
const forbiddenTrailers = new Set([
  "authorization",
  "connection",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "cookie",
  "expect",
  "forwarded",
  "host",
  "keep-alive",
  "proxy-connection",
  "set-cookie",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
]);
const trailerNameMax = 64;

const S = {
  size: 0,
  sizeLf: 1,
  data: 2,
  dataCr: 3,
  dataLf: 4,
  trailerStart: 5,
  trailerName: 6,
  trailerValue: 7,
  trailerLf: 8,
  endLf: 9,
  done: 10,
} as const;

export class ChunkedScanner {
  #state: number = S.size;
  #size = 0;
  #digits = 0;
  #trailerBytes = 0;
  #trailerName = "";
  refusal = "";

  get done(): boolean {
    return this.#state === S.done;
  }

  /**
   * Checks bytes[start, end) and returns where the body's bytes end in it: `end`, or before it when the body is
   * done; -1 when it is malformed (`refusal` says how). `data`, if given, gets the ranges of content.
   */
  scan(
    bytes: Uint8Array,
    start: number,
    end: number,
    data: ((start: number, end: number) => void) | null,
  ): number {
    let at = start;
    while (at < end && this.#state !== S.done) {
      if (this.#state === S.data) {
        const n = Math.min(this.#size, end - at);
        data?.(at, at + n);
        at += n;
        this.#size -= n;
        if (this.#size === 0) this.#state = S.dataCr;
        continue;
      }
      if (!this.#step(bytes[at]!)) return -1;
      at++;
    }
    return at;
  }

  #step(byte: number): boolean {
    switch (this.#state) {
      case S.size:
        return this.#stepSize(byte);
      case S.sizeLf:
        if (byte !== LF) return this.#refuse("a bare CR after a chunk's size");
        this.#state = this.#size > 0 ? S.data : S.trailerStart;
        this.#digits = 0;
        return true;
      case S.dataCr:
        if (byte !== CR) return this.#refuse("a chunk longer than its size");
        this.#state = S.dataLf;
        return true;
      case S.dataLf:
        if (byte !== LF) return this.#refuse("a bare CR after a chunk");
        this.#state = S.size;
        return true;
      case S.endLf:
        if (byte !== LF) return this.#refuse("a bare CR after the trailer");
        this.#state = S.done;
        return true;
      default:
        return this.#stepTrailer(byte);
    }
  }

  #stepSize(byte: number): boolean {
    const digit = hexValue[byte]!;
    if (digit !== 255) {
      if (++this.#digits > sizeDigitsMax) return this.#refuse("a chunk size of more than 13 digits");
      this.#size = this.#size * 16 + digit;
      return true;
    }
    if (this.#digits === 0) return this.#refuse("a chunk without a size");
    if (byte !== CR) return this.#refuse(byte === 59 ? "a chunk extension" : "a malformed chunk size");
    this.#state = S.sizeLf;
    return true;
  }

  #stepTrailer(byte: number): boolean {
    if (++this.#trailerBytes > trailerBytesMax) return this.#refuse("a trailer of more than 8192 bytes");
    switch (this.#state) {
      case S.trailerStart:
        if (byte === CR) {
          this.#state = S.endLf;
          return true;
        }
        this.#trailerName = "";
        this.#state = S.trailerName;
        return this.#stepTrailerName(byte);
      case S.trailerName:
        return this.#stepTrailerName(byte);
      case S.trailerValue:
        if (byte === CR) this.#state = S.trailerLf;
        else if (isValue[byte] !== 1) return this.#refuse("a malformed trailer field");
        return true;
      default:
        if (byte !== LF) return this.#refuse("a bare CR in the trailer");
        this.#state = S.trailerStart;
        return true;
    }
  }

  #stepTrailerName(byte: number): boolean {
    if (isToken[byte] === 1) {
      if (this.#trailerName.length < trailerNameMax) this.#trailerName += String.fromCharCode(byte | 32);
      return true;
    }
    if (byte !== COLON || this.#trailerName === "") return this.#refuse("a malformed trailer field");
    // `| 32` turns `_` into DEL and so on, never a letter or hyphen into another one.
    if (forbiddenTrailers.has(this.#trailerName)) {
      return this.#refuse(`the field ${this.#trailerName} in the trailer`);
    }
    this.#state = S.trailerValue;
    return true;
  }

  #refuse(reason: string): false {
    this.refusal = reason;
    return false;
  }
}
