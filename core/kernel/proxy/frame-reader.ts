/**
 * Finds frames in a stream of chunks. A frame that lies within one chunk is given out where it is; one that does not
 * is put together in a buffer of exactly its size, so that no byte is ever copied twice. Memory: one frame.
 */
import { frameBytesMax } from "../../limits.ts";
import { type FrameKind, frameHeadBytes, frameKinds, readLength } from "./frame.ts";
import { Malformed } from "./malformed.ts";

export interface FrameUser {
  /**
   * One frame: `bytes` from `start` to `end` are what follows its first four bytes. False: no further frame of this
   * stream is wanted, whatever has come.
   */
  onFrame(kind: FrameKind, bytes: Uint8Array, start: number, end: number): boolean;
}

export class FrameReader {
  /** Raised when the peer has proved who it is. */
  bytesMax: number;
  readonly #head = new Uint8Array(frameHeadBytes);
  /** Bytes of the head that have come. */
  #headBytes = 0;
  /** The frame that is being put together, and how much of it has come. */
  #frame: Uint8Array | null = null;
  #at = 0;

  constructor(bytesMax: number = frameBytesMax) {
    this.bytesMax = bytesMax;
  }

  /** Throws Malformed; nothing more may be fed then. */
  feed(bytes: Uint8Array, user: FrameUser): void {
    // Of a Buffer, slice() would be no copy.
    const chunk = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = this.#resume(chunk, user);
    if (at < 0) return;
    const end = chunk.length;
    while (end - at >= frameHeadBytes) {
      const length = this.#check(chunk, at);
      const start = at + frameHeadBytes;
      if (length > end - start) {
        this.#begin(chunk, at, length);
        this.#at = end - start;
        this.#frame!.set(chunk.subarray(start, end));
        return;
      }
      at = start + length;
      if (!user.onFrame(chunk[start - frameHeadBytes]! as FrameKind, chunk, start, at)) return;
    }
    for (; at < end; at++) this.#head[this.#headBytes++] = chunk[at]!;
  }

  /** Bytes kept of a frame that has not wholly come. */
  get pendingBytes(): number {
    return this.#headBytes + (this.#frame?.length ?? 0);
  }

  /** Goes on with the frame that the last chunk began. Returns where the next one starts; −1: nowhere. */
  #resume(chunk: Uint8Array, user: FrameUser): number {
    let at = 0;
    if (!this.#frame) {
      if (this.#headBytes === 0) return 0;
      while (this.#headBytes < frameHeadBytes && at < chunk.length)
        this.#head[this.#headBytes++] = chunk[at++]!;
      if (this.#headBytes < frameHeadBytes) return -1;
      this.#begin(this.#head, 0, this.#check(this.#head, 0));
    }
    const frame = this.#frame!;
    const take = Math.min(frame.length - this.#at, chunk.length - at);
    frame.set(chunk.subarray(at, at + take), this.#at);
    this.#at += take;
    if (this.#at < frame.length) return -1;
    this.#frame = null;
    this.#headBytes = 0;
    return user.onFrame(this.#head[0]! as FrameKind, frame, 0, frame.length) ? at + take : -1;
  }

  #begin(bytes: Uint8Array, at: number, length: number): void {
    this.#head[0] = bytes[at]!;
    this.#headBytes = frameHeadBytes;
    this.#frame = new Uint8Array(length);
    this.#at = 0;
  }

  #check(bytes: Uint8Array, at: number): number {
    const kind = bytes[at]!;
    if (kind > frameKinds.ack) throw new Malformed(`a frame of kind ${kind}`);
    const length = readLength(bytes, at);
    if (length > this.bytesMax)
      throw new Malformed(`a frame of ${length} bytes: ${this.bytesMax} are the most`);
    return length;
  }
}
