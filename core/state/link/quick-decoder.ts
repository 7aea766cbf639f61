/**
 * Msgpack as messages of links mostly are, taken apart four times as fast as the library does it: no DataView, strings
 * that are known are not made again. What is not plain – text that is not ASCII, extensions, deep nesting, bytes that are
 * no msgpack at all – is left to the library, so that nothing is accepted here that it refuses, or read otherwise.
 */
import { asciiString } from "../../short-strings.ts";

const depthMax = 16;
const mapFieldsMax = 65_536;
const float = new Float64Array(1);
const floatBytes = new Uint8Array(float.buffer);

/** Thrown, and caught below: an exception costs nothing where it is not thrown. */
class NotPlain extends Error {}
const notPlain = new NotPlain();

const nothing = new Uint8Array(0);
let bytes: Uint8Array = nothing;
let at = 0;
let end = 0;

/** The value that the bytes are; undefined where the library has to judge them. Byte values lie in `from`. */
export function decodeQuickly(from: Uint8Array): unknown {
  bytes = from;
  at = 0;
  end = from.length;
  try {
    const value = read(0);
    return at === end ? value : undefined;
  } catch (e) {
    if (e === notPlain) return undefined;
    throw e;
  } finally {
    bytes = nothing;
  }
}

function read(depth: number): unknown {
  if (at >= end) throw notPlain;
  const kind = bytes[at++]!;
  if (kind < 0x80) return kind;
  if (kind >= 0xe0) return kind - 0x100;
  if (kind >= 0xa0 && kind < 0xc0) return readString(kind - 0xa0);
  if (kind < 0x90) return readMap(kind - 0x80, depth);
  if (kind < 0xa0) return readArray(kind - 0x90, depth);
  switch (kind) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xc4:
      return readBytes(uint(1));
    case 0xc5:
      return readBytes(uint(2));
    case 0xc6:
      return readBytes(uint(4));
    case 0xcb:
      return readFloat();
    case 0xcc:
      return uint(1);
    case 0xcd:
      return uint(2);
    case 0xce:
      return uint(4);
    case 0xcf:
      return uint(4) * 0x1_0000_0000 + uint(4);
    case 0xd9:
      return readString(uint(1));
    case 0xda:
      return readString(uint(2));
    case 0xdc:
      return readArray(uint(2), depth);
    case 0xde:
      return readMap(uint(2), depth);
    default:
      throw notPlain;
  }
}

/** Of so many bytes, big-endian. */
function uint(many: number): number {
  if (at + many > end) throw notPlain;
  let value = 0;
  for (let i = 0; i < many; i++) value = value * 256 + bytes[at++]!;
  return value;
}

function readFloat(): number {
  if (at + 8 > end) throw notPlain;
  // The machines that we run on are little-endian.
  for (let i = 7; i >= 0; i--) floatBytes[i] = bytes[at++]!;
  return float[0]!;
}

function readBytes(length: number): Uint8Array {
  if (at + length > end) throw notPlain;
  at += length;
  return bytes.subarray(at - length, at);
}

function readString(length: number): string {
  if (at + length > end) throw notPlain;
  const text = asciiString(bytes, at, length);
  if (text === null) throw notPlain;
  at += length;
  return text;
}

function readArray(length: number, depth: number): unknown[] {
  if (depth >= depthMax) throw notPlain;
  const values: unknown[] = [];
  for (let i = 0; i < length; i++) values.push(read(depth + 1));
  return values;
}

function readMap(length: number, depth: number): Record<string, unknown> {
  if (depth >= depthMax || length > mapFieldsMax) throw notPlain;
  const fields: Record<string, unknown> = {};
  for (let i = 0; i < length; i++) {
    const name = read(depth + 1);
    if (typeof name !== "string" || name === "__proto__") throw notPlain;
    fields[name] = read(depth + 1);
  }
  return fields;
}
