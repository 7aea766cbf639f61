/**
 * What goes over a connection between two kernels: frames.
 *
 *     0        1                    4                     8
 *     ┌────────┬────────────────────┬─────────────────────┬──────────────
 *     │ kind   │ length of the rest │ sequence number     │ message        kind 0: message
 *     ├────────┼────────────────────┼─────────────────────┘
 *     │ kind   │ length of the rest │ message                                kind 1: loose, kind 2: link
 *     ├────────┼────────────────────┼─────────────────────┐
 *     │ kind   │ 4                  │ sequence number     │                  kind 3: ack
 *     └────────┴────────────────────┴─────────────────────┘
 *
 * Numbers are big-endian. A message is a msgpack array: its number, then the fields of its row. The one field that
 * may be long (a body, bytes) is the last, so that its bytes follow the others as they are.
 *
 * Frames of kind `message` are counted from 1 for each pair of kernels and channel, over all connections that they
 * ever have; the number in the frame is the low 32 bits of that count. They are kept until acknowledged and sent
 * again over the next connection. `loose` frames are kernel messages whose row is lossy: sent once, if at all.
 */
export const frameKinds = { message: 0, loose: 1, link: 2, ack: 3 } as const;
export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds];

/** Kind and length. */
export const frameHeadBytes = 4;
/** Kind, length and sequence number. */
export const messageFrameHeadBytes = 8;
export const ackFrameBytes = 8;

export function writeFrameHead(bytes: Uint8Array, at: number, kind: FrameKind, length: number): void {
  bytes[at] = kind;
  bytes[at + 1] = length >>> 16;
  bytes[at + 2] = length >>> 8;
  bytes[at + 3] = length;
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function readLength(bytes: Uint8Array, at: number): number {
  return (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

export function writeAck(bytes: Uint8Array, count: number): void {
  writeFrameHead(bytes, 0, frameKinds.ack, 4);
  writeUint32(bytes, 4, count % 0x1_0000_0000);
}
