/**
 * Answers to the kernel: one buffer each, in which the header has its room, so that it leaves as one write. Offsets in
 * `Answer` are counted from the end of the header.
 */
import { type Attributes, kindMask } from "../files/attributes.ts";
import type { FileSystemUsage, LockHolder } from "../files/file-system.ts";
import { fileNameBytesMax } from "../limits.ts";
import { attrBytes, entryBytes, lockKinds, notifications, outHeaderBytes, pageBytes } from "./abi.ts";

export class Answer {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(length: number) {
    this.bytes = new Uint8Array(outHeaderBytes + length);
    this.#view = new DataView(this.bytes.buffer);
  }

  u16(at: number, value: number): this {
    this.#view.setUint16(outHeaderBytes + at, value, true);
    return this;
  }
  u32(at: number, value: number): this {
    this.#view.setUint32(outHeaderBytes + at, value, true);
    return this;
  }
  u64(at: number, value: number): this {
    const whole = Math.floor(value / 2 ** 32);
    this.#view.setUint32(outHeaderBytes + at, value >>> 0, true);
    this.#view.setInt32(outHeaderBytes + at + 4, whole, true);
    return this;
  }
  put(at: number, bytes: Uint8Array): this {
    this.bytes.set(bytes, outHeaderBytes + at);
    return this;
  }

  /** `struct fuse_attr`. */
  attr(at: number, of: Attributes): this {
    this.u64(at, of.ino).u64(at + 8, of.size);
    this.u64(at + 16, Math.ceil(of.allocated / 512));
    this.u64(at + 24, of.atime.seconds)
      .u64(at + 32, of.mtime.seconds)
      .u64(at + 40, of.ctime.seconds);
    this.u32(at + 48, of.atime.nanos)
      .u32(at + 52, of.mtime.nanos)
      .u32(at + 56, of.ctime.nanos);
    this.u32(at + 60, of.mode)
      .u32(at + 64, of.nlink)
      .u32(at + 68, of.uid)
      .u32(at + 72, of.gid);
    // What it is best read and written in.
    return this.u32(at + 80, blockBytes);
  }

  /** `struct fuse_entry_out`. Generation 0: no number of an inode is ever used again. */
  entry(at: number, of: Attributes, { entryMs, attributesMs }: Validity): this {
    this.u64(at, of.ino);
    this.#validity(at + 16, at + 32, entryMs);
    this.#validity(at + 24, at + 36, attributesMs);
    return this.attr(at + 40, of);
  }

  validity(at: number, nanosAt: number, ms: number): this {
    this.#validity(at, nanosAt, ms);
    return this;
  }

  /** The same bytes with the header filled in. `error` positive, 0: none. */
  finish(unique: number, error = 0, length = this.bytes.length): Uint8Array {
    writeHeader(this.#view, length, -error, unique);
    return length === this.bytes.length ? this.bytes : this.bytes.subarray(0, length);
  }

  #validity(at: number, nanosAt: number, ms: number): void {
    this.u64(at, Math.floor(ms / 1_000));
    this.u32(nanosAt, (ms % 1_000) * 1_000_000);
  }
}

/** How long the kernel may go by an answer without asking again. */
export interface Validity {
  entryMs: number;
  attributesMs: number;
}

/** `st_blksize`: what programs copy by. As much as the kernel sends at a time where nothing is cached. */
export const blockBytes = 128 * 1_024;
/** `f_bsize`. */
const usageBlockBytes = pageBytes;

/** No fields: an error, or that it was done. */
export function errorAnswer(unique: number, errno: number): Uint8Array {
  return new Answer(0).finish(unique, errno);
}

/** Before bytes that are written behind it with the same write. */
export function dataHeader(unique: number, length: number): Uint8Array {
  const header = new Uint8Array(outHeaderBytes);
  writeHeader(new DataView(header.buffer), outHeaderBytes + length, 0, unique);
  return header;
}

export function entryAnswer(of: Attributes, validity: Validity): Answer {
  return new Answer(entryBytes).entry(0, of, validity);
}

export function attributesAnswer(of: Attributes, { attributesMs }: Validity): Answer {
  return new Answer(16 + attrBytes).validity(0, 8, attributesMs).attr(16, of);
}

export function openAnswer(fh: number, flags: number): Answer {
  return new Answer(16).u64(0, fh).u32(8, flags);
}

export function createAnswer(of: Attributes, validity: Validity, fh: number, flags: number): Answer {
  return new Answer(entryBytes + 16)
    .entry(0, of, validity)
    .u64(entryBytes, fh)
    .u32(entryBytes + 8, flags);
}

export function writtenAnswer(length: number): Answer {
  return new Answer(8).u32(0, length);
}

export function offsetAnswer(offset: number): Answer {
  return new Answer(8).u64(0, offset);
}

export function usageAnswer({ bytes, bytesMax, inodes, inodesMax, bytesFree }: FileSystemUsage): Answer {
  const blocks = (n: number) => Math.max(0, Math.floor(n / usageBlockBytes));
  const left = Math.max(0, Math.min(bytesMax - bytes, bytesFree));
  const free = blocks(left);
  return new Answer(80)
    .u64(0, blocks(Math.min(bytesMax, bytes + left)))
    .u64(8, free)
    .u64(16, free)
    .u64(24, inodesMax)
    .u64(32, Math.max(0, inodesMax - inodes))
    .u32(40, usageBlockBytes)
    .u32(44, fileNameBytesMax)
    .u32(48, usageBlockBytes);
}

/** `null`: nobody is in the way. */
export function lockAnswer(holder: LockHolder | null): Answer {
  const answer = new Answer(24);
  if (!holder) return answer.u32(16, lockKinds.none);
  const { kind, range, pid } = holder;
  answer.u64(0, range.start);
  if (range.end === Infinity) answer.u32(8, 0xffff_ffff).u32(12, 0x7fff_ffff);
  else answer.u64(8, range.end - 1);
  return answer.u32(16, lockKinds[kind]).u32(20, pid);
}

/** Unasked: the kernel is to ask again for an inode's attributes and content. */
export function invalInode(ino: number): Uint8Array {
  return new Answer(24).u64(0, ino).finish(0, -notifications.invalInode);
}

function writeHeader(view: DataView, length: number, error: number, unique: number): void {
  view.setUint32(0, length, true);
  view.setInt32(4, error, true);
  view.setUint32(8, unique >>> 0, true);
  view.setUint32(12, Math.floor(unique / 2 ** 32), true);
}

/** `DT_…` of a kind. */
export function direntType(mode: number): number {
  return (mode & kindMask) >> 12;
}
