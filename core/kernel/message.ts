/**
 * What processes say to each other: a type, which the VOS gives a meaning, and a body of bytes or a plain value that
 * msgpack can carry. The body passes with the message: whoever has sent it must not touch it any more, so that
 * between two processes of one kernel nothing is copied.
 */
import { messageBytesMax } from "../limits.ts";
import type { Endpoint } from "./endpoint.ts";

export interface Message {
  /** An integer from 0. */
  readonly type: number;
  /** Bytes or a plain value: see bodyBytes. */
  readonly body: unknown;
}

/** A message as receive() hands it out; a request is to be given back to reply(). */
export interface Received extends Message {
  readonly source: Endpoint;
  readonly isRequest: boolean;
  /** A notification: `body` is how often the source has notified since the last one. */
  readonly isNotification: boolean;
}

/** Type of what notify() delivers. */
export const notificationType = 0;

/** What can be known at once, wherever the message goes; the rest is known when it leaves the kernel. */
export function refuseMessage({ type, body }: Message): "BAD_MESSAGE" | "TOO_LARGE" | null {
  if (!Number.isSafeInteger(type) || type < 0) return "BAD_MESSAGE";
  return body instanceof Uint8Array && body.byteLength > messageBytesMax ? "TOO_LARGE" : null;
}

/** What bodyBytes says of a value that no message can carry. */
export const notPlain = Infinity;

/** Arrays and objects within each other; as core/kernel/proxy/skim.ts allows them. */
const depthMax = 32;

/**
 * Most bytes that a body can have when it is encoded, by walking it; a number above `most` where it has more than that.
 *
 * notPlain: the peer would refuse it, or get something else. Plain are null, booleans, numbers, strings of whole
 * characters, Uint8Array (and so Buffer, which arrives as a Uint8Array), and arrays and objects of these, at most 32
 * deep; so no class instances, functions, symbols, bigints, cycles, holes in arrays, or `__proto__`. As in JSON,
 * properties that are undefined or whose key is a symbol are left out, and a body that is undefined arrives as null.
 */
export function bodyBytes(body: unknown, most: number): number {
  // The head before bytes that are the whole body is the frame's.
  if (body instanceof Uint8Array) return body.byteLength;
  const bound = walk(body, most, 0, false);
  return bound <= most || bound === notPlain ? bound : walk(body, most, 0, true);
}

/** Not `exact`: what costs least to find, and is never too few. */
function walk(value: unknown, most: number, depth: number, exact: boolean): number {
  switch (typeof value) {
    case "boolean":
      return 1;
    case "number":
      return exact ? numberBytes(value) : 9;
    case "string":
      return stringBytes(value, exact);
    case "object":
      break;
    case "undefined":
      return depth === 0 ? 1 : notPlain;
    default:
      return notPlain;
  }
  if (value === null) return 1;
  if (value instanceof Uint8Array) return value.byteLength + (exact ? binHeadBytes(value.byteLength) : 5);
  if (depth >= depthMax) return notPlain;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (Array.isArray(value)) {
    return prototype === Array.prototype ? arrayBytes(value, most, depth, exact) : notPlain;
  }
  if (prototype !== Object.prototype && prototype !== null) return notPlain;
  return objectBytes(value as Record<string, unknown>, most, depth, exact);
}

function arrayBytes(array: readonly unknown[], most: number, depth: number, exact: boolean): number {
  let bytes = exact ? listHeadBytes(array.length) : 5;
  for (let i = 0; i < array.length && bytes <= most; i++) bytes += walk(array[i], most, depth + 1, exact);
  return bytes;
}

function objectBytes(
  object: Readonly<Record<string, unknown>>,
  most: number,
  depth: number,
  exact: boolean,
): number {
  let bytes = exact ? 1 : 5;
  let count = 0;
  for (const key of Object.keys(object)) {
    const value = object[key];
    if (value === undefined) continue;
    if (key === "__proto__") return notPlain;
    bytes += stringBytes(key, exact) + walk(value, most, depth + 1, exact);
    if (bytes > most) return bytes;
    count++;
  }
  return exact ? bytes - 1 + listHeadBytes(count) : bytes;
}

function stringBytes(text: string, exact: boolean): number {
  // UTF-8 has at most three bytes for each unit of UTF-16.
  if (!text.isWellFormed()) return notPlain;
  if (!exact) return 5 + text.length * 3;
  const bytes = utf8Bytes(text);
  return bytes + (bytes < 32 ? 1 : binHeadBytes(bytes));
}

function utf8Bytes(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Each half of a pair is two of its four bytes.
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 2 : 3;
  }
  return bytes;
}

function numberBytes(value: number): number {
  if (!Number.isSafeInteger(value)) return 9;
  // As many for −n as for n − 1, but for the shortest.
  const size = value < 0 ? -1 - value : value;
  if (size < (value < 0 ? 0x20 : 0x80)) return 1;
  if (value < 0) return size < 0x80 ? 2 : size < 0x8000 ? 3 : size < 0x8000_0000 ? 5 : 9;
  return size < 0x100 ? 2 : size < 0x1_0000 ? 3 : size < 0x1_0000_0000 ? 5 : 9;
}
function binHeadBytes(length: number): number {
  return length < 0x100 ? 2 : length < 0x1_0000 ? 3 : 5;
}
function listHeadBytes(length: number): number {
  return length < 16 ? 1 : length < 0x1_0000 ? 3 : 5;
}
