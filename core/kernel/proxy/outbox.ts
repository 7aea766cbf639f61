/**
 * The messages of one channel that the peer has not acknowledged, as the very bytes that are sent: each is encoded
 * once, however often connections break, and what has gathered leaves in one write.
 *
 *        acknowledged │ first                        last
 *                     ▼                                ▼
 *     (given back)  [segment ··········|tail] → [segment ···········]        a segment: frames in a row in one block;
 *                            ▲                                               a big body is its tail, where it was made
 *                            └ cursor: sent up to here over the present connection
 *
 * Bound: `isHigh` says when no new calls may follow. What still may, answers, is bounded by the calls of the peer.
 */
import { frameBlockBytes, linkBytesHigh, linkFramesHigh, messageHeadBytesMax } from "../../limits.ts";
import type { KernelMessage } from "../messages.ts";
import { type Block, releaseBlock, takeBlock } from "./block-pool.ts";
import { ByteWriter } from "./byte-writer.ts";
import { encodeFields, Long } from "./encode.ts";
import {
  frameHeadBytes,
  frameKinds,
  messageFrameHeadBytes,
  readLength,
  writeFrameHead,
  writeUint32,
} from "./frame.ts";
import type { WireRow } from "./rows.ts";
import type { Wire } from "./wire.ts";

interface Segment {
  readonly block: Block;
  start: number;
  end: number;
  /** Number of its first frame, and of its last. */
  firstSequence: number;
  lastSequence: number;
  /** The end of its last frame; nothing follows it here. */
  tail: Uint8Array | null;
  next: Segment | null;
}

const long = new Long();
const writer = new ByteWriter(new Uint8Array());

export class Outbox {
  /** Frames ever put in; the last one's number. */
  added = 0;
  acknowledged = 0;
  /** Of everything kept: frames, with the rest of their segment. */
  bytes = 0;
  /** Whether the last sendTo has sent its trailer. */
  trailed = false;
  #first: Segment | null = null;
  #last: Segment | null = null;
  /** What is next to be sent: a segment (null: nothing) and a place in it, and then its tail. */
  #cursor: Segment | null = null;
  #cursorAt = 0;

  get isHigh(): boolean {
    return this.bytes >= linkBytesHigh || this.added - this.acknowledged >= linkFramesHigh;
  }

  get hasUnsent(): boolean {
    const cursor = this.#cursor;
    return cursor !== null && (this.#cursorAt < cursor.end || cursor.tail !== null || cursor.next !== null);
  }

  add(row: WireRow, message: KernelMessage): void {
    long.set(row, message);
    const segment = this.#room(messageFrameHeadBytes + messageHeadBytesMax + long.inlineBytes);
    const start = segment.end;
    const w = writer;
    w.bytes = segment.block.bytes;
    w.at = start + messageFrameHeadBytes;
    encodeFields(w, row, message, long);
    let length = w.at - start - frameHeadBytes;
    if (long.isBig) {
      segment.tail = long.owned ? long.bytes! : long.bytes!.slice();
      length += segment.tail.length;
    }
    long.bytes = null;
    this.added++;
    writeFrameHead(w.bytes, start, frameKinds.message, length);
    writeUint32(w.bytes, start + frameHeadBytes, this.added % 0x1_0000_0000);
    segment.end = w.at;
    segment.lastSequence = this.added;
    this.bytes += length + frameHeadBytes;
    this.#cursor ??= segment;
  }

  /**
   * Writes what is unsent until the wire has enough: false, and onDrain will follow. `trailer` is a frame that is not
   * kept: it goes in the same write as the last message, if there is room behind it (`trailed`).
   */
  sendTo(wire: Wire, trailer: Uint8Array | null = null): boolean {
    this.trailed = false;
    for (;;) {
      const cursor = this.#cursor;
      if (!cursor) return true;
      const from = this.#cursorAt;
      let more = true;
      if (from < cursor.end) {
        let { end } = cursor;
        this.#cursorAt = end;
        if (trailer && !cursor.next && !cursor.tail && end + trailer.length <= frameBlockBytes) {
          // The next message will be written over it.
          cursor.block.bytes.set(trailer, end);
          end += trailer.length;
          this.trailed = true;
        }
        more = wire.write(cursor.block.bytes, from, end);
      }
      // The rest of a frame follows its head even when the wire has enough: between frames others may be put.
      if (cursor.tail) more = wire.write(cursor.tail, 0, cursor.tail.length);
      const goesOn = this.#advance(cursor);
      if (!more) return false;
      if (!goesOn) return true;
    }
  }

  /** The peer has the first `count` messages. False: it cannot have. */
  acknowledge(count: number): boolean {
    if (count > this.added) return false;
    if (count <= this.acknowledged) return true;
    this.acknowledged = count;
    let first = this.#first;
    while (first && first.lastSequence <= count) {
      this.bytes -= first.end - first.start + (first.tail?.length ?? 0);
      const { next } = first;
      if (this.#cursor === first) {
        // Sent by an earlier connection, and had arrived.
        this.#cursor = next;
        this.#cursorAt = next ? next.start : 0;
      }
      if (next === null && first.tail === null && first.block.users === 1) {
        // The only one: its block goes on being filled from the start.
        first.start = 0;
        first.end = 0;
        first.firstSequence = this.added + 1;
        this.#first = first;
        this.#cursor = null;
        this.#cursorAt = 0;
        return true;
      }
      releaseBlock(first.block);
      first = next;
    }
    this.#first = first;
    if (!first) this.#last = null;
    return true;
  }

  /** A new connection: what follows the peer's first `received` messages is sent again. False: it cannot have them. */
  rewind(received: number): boolean {
    if (!this.acknowledge(received)) return false;
    let segment = this.#first;
    while (segment && segment.lastSequence < this.acknowledged + 1) segment = segment.next;
    this.#cursor = segment;
    this.#cursorAt = 0;
    if (!segment) return true;
    let at = segment.start;
    for (let sequence = segment.firstSequence; sequence <= this.acknowledged; sequence++) {
      at += frameHeadBytes + readLength(segment.block.bytes, at);
    }
    this.#cursorAt = at;
    return true;
  }

  /** The peer is no more. */
  clear(): void {
    for (let segment = this.#first; segment; segment = segment.next) releaseBlock(segment.block);
    this.#first = null;
    this.#last = null;
    this.#cursor = null;
    this.acknowledged = this.added;
    this.bytes = 0;
  }

  /** To the next segment; false when there is none, and the cursor waits for what will be added. */
  #advance(cursor: Segment): boolean {
    if (cursor.next) {
      this.#cursor = cursor.next;
      this.#cursorAt = cursor.next.start;
      return true;
    }
    // A segment with a tail is full: whatever is added begins a new one.
    if (cursor.tail) {
      this.#cursor = null;
      this.#cursorAt = 0;
    }
    return false;
  }

  /** A segment at whose end so many bytes can be written. */
  #room(bytes: number): Segment {
    const last = this.#last;
    if (last && !last.tail && last.end + bytes <= frameBlockBytes) return last;
    let block: Block;
    let start = 0;
    if (last?.tail && last.end + bytes <= frameBlockBytes) {
      ({ block } = last);
      block.users++;
      start = last.end;
    } else block = takeBlock();
    const segment: Segment = {
      block,
      start,
      end: start,
      firstSequence: this.added + 1,
      lastSequence: this.added,
      tail: null,
      next: null,
    };
    if (last) last.next = segment;
    else this.#first = segment;
    this.#last = segment;
    if (this.#cursor === null) {
      this.#cursor = segment;
      this.#cursorAt = start;
    }
    return segment;
  }
}
