/**
 * Takes an HTTP/1.1 body out of the bytes of a connection: a counted one, or a chunked one. A push parser: `push`
 * hands the payload on as it comes and says when the body is whole. Trailers are read and dropped.
 */
import { malformed } from "./response-head.ts";

export interface BodyReader {
  /**
   * Consumes `bytes`; gives payload to `sink`. Returns how many bytes belonged to the body when it has ended, or
   * -1 while it goes on. Throws when the framing is broken.
   */
  push(bytes: Uint8Array, sink: (payload: Uint8Array) => void): number;
}

export function countedBody(length: number): BodyReader {
  let left = length;
  return {
    push(bytes, sink) {
      const part = bytes.subarray(0, left);
      left -= part.length;
      if (part.length > 0) sink(part);
      return left === 0 ? part.length : -1;
    },
  };
}

/** A size line with extensions, or a trailer line, is no longer than this. */
const lineCharsMax = 4_096;
const trailersMax = 64;

export function chunkedBody(): BodyReader {
  let state: "size" | "data" | "dataEnd" | "trailer" = "size";
  let line = "";
  let left = 0;
  let trailers = 0;

  /** The rest of the current line, when its end is in `bytes`. */
  function takeLine(bytes: Uint8Array, at: number): { text: string; next: number } | null {
    const end = bytes.indexOf(0x0a, at);
    const part = bytes.subarray(at, end < 0 ? bytes.length : end);
    if (line.length + part.length > lineCharsMax) throw malformed("a line of a chunked body is too long");
    for (const byte of part) line += String.fromCharCode(byte);
    if (end < 0) return null;
    if (!line.endsWith("\r")) throw malformed("a line of a chunked body ends without CR");
    const text = line.slice(0, -1);
    line = "";
    return { text, next: end + 1 };
  }

  return {
    push(bytes, sink) {
      let at = 0;
      while (at < bytes.length) {
        if (state === "data") {
          const part = bytes.subarray(at, at + left);
          sink(part);
          at += part.length;
          left -= part.length;
          if (left === 0) state = "dataEnd";
          continue;
        }
        const taken = takeLine(bytes, at);
        if (!taken) return -1;
        at = taken.next;
        if (state === "dataEnd") {
          if (taken.text !== "") throw malformed("a chunk is longer than its size");
          state = "size";
        } else if (state === "size") {
          const size = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?$/.exec(taken.text);
          if (!size) throw malformed(`chunk size ${JSON.stringify(taken.text.slice(0, 40))}`);
          left = Number.parseInt(size[1]!, 16);
          state = left === 0 ? "trailer" : "data";
        } else if (taken.text === "") {
          return at;
        } else if (++trailers > trailersMax) {
          throw malformed("too many trailers");
        }
      }
      return -1;
    },
  };
}
