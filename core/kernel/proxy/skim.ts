/**
 * Walks over one msgpack value without making anything of it, before the library does. The library believes lengths:
 * five bytes that announce an array of 2^32 elements would make it allocate that. Here every announced element must
 * have at least one byte left for it, so that what is decoded is at most some dozen times as large as what was sent.
 */
import { Malformed } from "./malformed.ts";

/** Arrays and maps within each other; as core/kernel/message.ts measures bodies. */
export const depthMax = 32;

/** Elements that are still to come, of each array and map that is open. */
const open = new Uint32Array(depthMax + 1);

export interface Skimmed {
  /** Where the value ends. */
  end: number;
  /** There are bytes in it somewhere, of which the library gives out views. */
  hasBytes: boolean;
}
const result: Skimmed = { end: 0, hasBytes: false };

/** Throws Malformed. The result is overwritten by the next call. */
export function skim(bytes: Uint8Array, start: number, end: number): Skimmed {
  let at = start;
  let depth = 0;
  /** Of all that is open: each needs a byte. */
  let toCome = 1;
  result.hasBytes = false;
  open[0] = 1;
  for (;;) {
    while (open[depth] === 0) {
      if (depth === 0) {
        if (at > end) throw new Malformed("a body that is cut short");
        result.end = at;
        return result;
      }
      depth--;
    }
    if (toCome > end - at) throw new Malformed("a body that is cut short, or announces more than it has");
    open[depth]!--;
    toCome--;
    const head = bytes[at++]!;
    let elements = 0;
    if (head < 0x80 || head >= 0xe0) continue;
    if (head < 0x90) elements = 2 * (head & 0x0f);
    else if (head < 0xa0) elements = head & 0x0f;
    else if (head < 0xc0) at += head & 0x1f;
    else {
      const width = widths[head - 0xc0]!;
      if (width === 0) continue;
      if (width < 0) throw new Malformed(`byte ${head} in a body`);
      const kind = kinds[head - 0xc0]!;
      if (kind === fixed) {
        at += width;
        continue;
      }
      if (width > end - at) throw new Malformed("a body that is cut short");
      let length = 0;
      for (let i = 0; i < width; i++) length = length * 256 + bytes[at++]!;
      if (kind === map) elements = 2 * length;
      else if (kind === array) elements = length;
      else {
        if (length > end - at) throw new Malformed("a body that is cut short");
        at += length;
        if (kind === bin) result.hasBytes = true;
      }
    }
    if (elements === 0) continue;
    if (depth === depthMax) throw new Malformed(`a body that is more than ${depthMax} levels deep`);
    open[++depth] = elements;
    toCome += elements;
  }
}

const fixed = 0;
const str = 1;
const bin = 2;
const array = 3;
const map = 4;

/** From 0xc0: bytes of the value, or of its length; −1: never used, or an extension, which no plain value has. */
const widths = Int8Array.from([
  ...[0, -1, 0, 0], // nil, (never), false, true
  ...[1, 2, 4, -1, -1, -1], // bin 8, 16, 32; ext 8, 16, 32
  ...[4, 8, 1, 2, 4, 8, 1, 2, 4, 8], // float 32, 64; uint 8 to 64; int 8 to 64
  ...[-1, -1, -1, -1, -1], // fixext 1 to 16
  ...[1, 2, 4, 2, 4, 2, 4], // str 8, 16, 32; array 16, 32; map 16, 32
]);
const kinds = Int8Array.from([
  ...[fixed, fixed, fixed, fixed],
  ...[bin, bin, bin, fixed, fixed, fixed],
  ...[fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed],
  ...[fixed, fixed, fixed, fixed, fixed],
  ...[str, str, str, array, array, map, map],
]);
