/**
 * A kernel's message as msgpack, field by field. The last field may be long; its bytes are told apart from the rest
 * (`Long`), so that they can be copied once, or not at all.
 */
import { ownSegmentBytes } from "../../limits.ts";
import type { KernelMessage } from "../messages.ts";
import { encodeValue } from "./body.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { kindCodes, longKindsFrom, type WireRow } from "./rows.ts";

/** The bytes of a message's last field. One for all messages: it is used up before the next one is encoded. */
export class Long {
  /** Null: the row has no such field. */
  bytes: Uint8Array | null = null;
  /** They are raw: msgpack's head of bytes comes before them. Else they are msgpack themselves. */
  raw = false;
  /** They belong to the message, and stay as they are. Else the next message overwrites them. */
  owned = false;
  /** They belong to a process, which may do anything with them: its memory may even have gone when they are sent. */
  lent = false;

  /** Of the last field of this message. */
  set(row: WireRow, message: KernelMessage): void {
    const { kinds } = row;
    const last = kinds.length - 1;
    if (last < 0 || kinds[last]! < longKindsFrom) {
      this.bytes = null;
      return;
    }
    const value: unknown = message[last + 1];
    this.raw = value instanceof Uint8Array;
    this.lent = kinds[last] === kindCodes.bytes;
    this.owned = this.raw && !this.lent;
    this.bytes = this.raw ? (value as Uint8Array) : encodeValue(value);
  }

  /** Whether the bytes are to be sent from where they are. */
  get isBig(): boolean {
    return this.bytes !== null && this.bytes.length >= ownSegmentBytes && !this.lent;
  }

  /** Bytes among the small ones, beside messageHeadBytesMax. */
  get inlineBytes(): number {
    return this.bytes === null || this.isBig ? 0 : this.bytes.length;
  }
}

/** Everything but the bytes of a big last field, which have to follow. */
export function encodeFields(w: ByteWriter, row: WireRow, message: KernelMessage, long: Long): void {
  const { kinds } = row;
  w.arrayHead(kinds.length + 1);
  w.uint(row.number);
  for (let i = 0; i < kinds.length; i++) {
    const code = kinds[i]!;
    if (code < kindCodes.timeMs) w.uint(message[i + 1] as number);
    else if (code === kindCodes.timeMs) w.number(message[i + 1] as number);
    else if (code === kindCodes.outcome) w.ascii(message[i + 1] as string);
    else {
      const bytes = long.bytes!;
      if (long.raw) w.binHead(bytes.length);
      if (!long.isBig) w.raw(bytes);
    }
  }
}
