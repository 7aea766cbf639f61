/**
 * What processes say to each other: a type, which the VOS gives a meaning, and a body of bytes or a plain value that
 * msgpack can carry. The body passes with the message: whoever has sent it must not touch it any more, so that
 * between two processes of one kernel nothing is copied.
 */
import type { Endpoint } from "./endpoint.ts";

export interface Message {
  /** An integer from 0. */
  readonly type: number;
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

const depthMax = 32;

/**
 * Most bytes that a body can have when it is encoded, by walking it; stops once it is above `most`. What cannot be
 * encoded (a function, a cycle: deeper than 32) is Infinity.
 */
export function bodyBytes(body: unknown, most: number, depth = 0): number {
  switch (typeof body) {
    case "undefined":
    case "boolean":
      return 1;
    case "number":
      return 9;
    case "string":
      // UTF-8 has at most three bytes for each unit of UTF-16.
      return 5 + (body.length * 3 > most ? utf8Bytes(body) : body.length * 3);
    case "object":
      break;
    default:
      return Infinity;
  }
  if (body === null) return 1;
  if (ArrayBuffer.isView(body)) return 5 + body.byteLength;
  if (depth >= depthMax) return Infinity;
  let bytes = 5;
  if (Array.isArray(body)) {
    for (const item of body) {
      bytes += bodyBytes(item, most, depth + 1);
      if (bytes > most) break;
    }
    return bytes;
  }
  for (const key of Object.keys(body)) {
    bytes += 5 + key.length * 3 + bodyBytes((body as Record<string, unknown>)[key], most, depth + 1);
    if (bytes > most) break;
  }
  return bytes;
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
