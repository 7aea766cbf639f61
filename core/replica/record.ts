/**
 * One record of the log: encoded once, by the primary that draws it up, and from then on these very bytes on every
 * link and disk. Indices count from 1 without gaps; (epoch, index) names a record, since an epoch has one primary.
 *
 *   0  u32  bytes in all            16  u48  epoch
 *   4  u32  CRC-32 of the rest      22  u48  index
 *   8  u8   format: 1               28  u48  time: Unix milliseconds of the primary, never less than before
 *   9  u8   kind                    34  u48  sequence: the client's number of this operation; 0 without a client
 *  10  u16  bytes of the client     40  u48  ackedBelow: it has the results of all below
 *  12  u16  bytes of the module     48  16 random bytes
 *  14  u16  0                       64  client, module (both UTF-8), operation
 *
 * Little endian. The checksum is begun with the length, so that it covers all.
 */
import { DvsError } from "../errors.ts";
import { asciiString } from "../short-strings.ts";
import { crc32 as ownCrc32, type Crc32 } from "./crc32.ts";
import { clientBytesMax, moduleBytesMax, operationBytesMax } from "./timings.ts";

export const recordKinds = {
  /** `module` applies `operation`. */
  operation: 1,
  /** The first of an epoch: what is before it is settled. */
  epochStart: 2,
  /** From here on `module` is at the level that `operation` says: one byte. */
  level: 3,
  /** `client` is gone: its results are forgotten, and nothing of it is carried out any more. */
  clientRemoved: 4,
  /** Changes nothing: answered when all up to it is on the disks of all replicas in sync, whatever the durability. */
  sync: 5,
} as const;
export type RecordKind = (typeof recordKinds)[keyof typeof recordKinds];

export const recordHeadBytes = 64;
export const recordBytesMax = recordHeadBytes + clientBytesMax + moduleBytesMax + operationBytesMax;

const format = 1;
const checkedFrom = 8;
/** Records are encoded behind one another in blocks of this size, so that a batch is sent without being copied. */
const blockBytes = 64 * 1024;

export interface RecordFields {
  epoch: number;
  index: number;
  kind: RecordKind;
  timeMs: number;
  random: Uint8Array;
  client: string;
  sequence: number;
  ackedBelow: number;
  module: string;
  operation: Uint8Array;
}

/** A record as it lies in memory: its bytes, decoded where they are looked at. */
export class LogRecord implements RecordFields {
  readonly epoch: number;
  readonly index: number;
  readonly kind: RecordKind;
  /** All of it: what links and disks carry. Never changed. */
  readonly bytes: Uint8Array;
  #client: string | null = null;
  #module: string | null = null;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.epoch = uint48(bytes, 16);
    this.index = uint48(bytes, 22);
    this.kind = bytes[9] as RecordKind;
  }

  get timeMs(): number {
    return uint48(this.bytes, 28);
  }
  get sequence(): number {
    return uint48(this.bytes, 34);
  }
  get ackedBelow(): number {
    return uint48(this.bytes, 40);
  }
  get random(): Uint8Array {
    return this.bytes.subarray(48, 64);
  }
  /** Looked at several times in each record's life, and made of its bytes once. */
  get client(): string {
    return (this.#client ??= text(this.bytes, recordHeadBytes, this.#clientBytes));
  }
  get module(): string {
    return (this.#module ??= text(this.bytes, recordHeadBytes + this.#clientBytes, this.#moduleBytes));
  }
  get operation(): Uint8Array {
    return this.bytes.subarray(recordHeadBytes + this.#clientBytes + this.#moduleBytes);
  }

  get #clientBytes(): number {
    return this.bytes[10]! | (this.bytes[11]! << 8);
  }
  get #moduleBytes(): number {
    return this.bytes[12]! | (this.bytes[13]! << 8);
  }
}

export class RecordEncoder {
  #block = new Uint8Array(0);
  #at = 0;
  /** Of names that come again and again. */
  readonly #names = new Map<string, Uint8Array>();
  readonly #crc32: Crc32;

  constructor(crc32: Crc32 = ownCrc32) {
    this.#crc32 = crc32;
  }

  /** Its limits were checked where the fields entered (`checkOperation`). */
  encode(fields: RecordFields): LogRecord {
    const client = this.#name(fields.client);
    const module = this.#name(fields.module);
    const { operation } = fields;
    const length = recordHeadBytes + client.length + module.length + operation.length;
    if (this.#at + length > this.#block.length) {
      this.#block = new Uint8Array(Math.max(blockBytes, length));
      this.#at = 0;
    }
    const bytes = this.#block.subarray(this.#at, this.#at + length);
    this.#at += length;
    bytes[8] = format;
    bytes[9] = fields.kind;
    bytes[10] = client.length & 255;
    bytes[11] = client.length >>> 8;
    bytes[12] = module.length & 255;
    bytes[13] = module.length >>> 8;
    setUint48(bytes, 16, fields.epoch);
    setUint48(bytes, 22, fields.index);
    setUint48(bytes, 28, fields.timeMs);
    setUint48(bytes, 34, fields.sequence);
    setUint48(bytes, 40, fields.ackedBelow);
    bytes.set(fields.random, 48);
    bytes.set(client, recordHeadBytes);
    bytes.set(module, recordHeadBytes + client.length);
    bytes.set(operation, length - operation.length);
    setUint32(bytes, 0, length);
    setUint32(bytes, 4, this.#crc32(bytes.subarray(checkedFrom), length));
    return new LogRecord(bytes);
  }

  #name(name: string): Uint8Array {
    let bytes = this.#names.get(name);
    if (!bytes) {
      if (this.#names.size >= 4_096) this.#names.clear();
      bytes = new TextEncoder().encode(name);
      this.#names.set(name, bytes);
    }
    return bytes;
  }
}

/**
 * The records of a message or a stretch of a log, in their order, each checked. Throws INVALID where one is torn, is
 * damaged or has another format, or where their indices have a gap. The records refer to the bytes.
 */
export function decodeRecords(bytes: Uint8Array, crc32: Crc32 = ownCrc32): LogRecord[] {
  const records: LogRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = at + recordHeadBytes <= bytes.length ? uint32(bytes, at) : 0;
    if (length < recordHeadBytes || length > recordBytesMax || at + length > bytes.length)
      throw unreadable(at, "is torn");
    if (crc32(bytes.subarray(at + checkedFrom, at + length), length) !== uint32(bytes, at + 4))
      throw unreadable(at, "has a wrong checksum");
    if (bytes[at + 8] !== format) throw unreadable(at, `has format ${bytes[at + 8]}, not ${format}`);
    const record = new LogRecord(bytes.subarray(at, at + length));
    const before = records.at(-1);
    if (before && record.index !== before.index + 1)
      throw unreadable(at, `has index ${record.index} after ${before.index}`);
    records.push(record);
    at += length;
  }
  return records;
}

/** Their bytes behind one another; those of one block are not copied. */
export function joinRecords(records: readonly LogRecord[]): Uint8Array {
  const first = records[0];
  if (!first) return new Uint8Array(0);
  const { buffer, byteOffset } = first.bytes;
  let end = byteOffset;
  let length = 0;
  let adjacent = true;
  for (const { bytes } of records) {
    adjacent &&= bytes.buffer === buffer && bytes.byteOffset === end;
    end += bytes.length;
    length += bytes.length;
  }
  if (adjacent) return new Uint8Array(buffer, byteOffset, length);
  const joined = new Uint8Array(length);
  let at = 0;
  for (const { bytes } of records) {
    joined.set(bytes, at);
    at += bytes.length;
  }
  return joined;
}

/** Throws INVALID or TOO_LARGE for an operation that no record can carry. */
export function checkOperation(write: {
  client: string;
  sequence: number;
  ackedBelow: number;
  module: string;
  operation: Uint8Array;
}): void {
  const { client, sequence, ackedBelow, module, operation } = write;
  const refuse = (what: string) => {
    throw new DvsError("INVALID", `Cannot write operation ${sequence} of client "${client}": ${what}.`);
  };
  if (operation.length > operationBytesMax) {
    throw new DvsError(
      "TOO_LARGE",
      `Cannot write an operation of ${operation.length} bytes: at most ${operationBytesMax}. Put bytes of files into blocks.`,
    );
  }
  if (!/^[\x21-\x7e]*$/.test(client) || client.length > clientBytesMax)
    refuse(`a client is up to ${clientBytesMax} printable ASCII characters`);
  if (!/^[\x21-\x7e]+$/.test(module) || module.length > moduleBytesMax)
    refuse(`a module is 1 to ${moduleBytesMax} printable ASCII characters`);
  if (client === "") return;
  if (!Number.isInteger(sequence) || sequence < 1 || sequence >= 2 ** 48)
    refuse("a sequence is from 1 to 2^48 - 1");
  if (!Number.isInteger(ackedBelow) || ackedBelow < 0 || ackedBelow > sequence)
    refuse(`it says that all below ${ackedBelow} have been answered`);
}

function unreadable(at: number, what: string): DvsError {
  return new DvsError("INVALID", `Cannot read records: the one at byte ${at} ${what}.`);
}

function uint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
function setUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
function uint48(bytes: Uint8Array, at: number): number {
  return uint32(bytes, at) + (bytes[at + 4]! | (bytes[at + 5]! << 8)) * 0x1_0000_0000;
}
function setUint48(bytes: Uint8Array, at: number, value: number): void {
  setUint32(bytes, at, value >>> 0);
  const high = Math.floor(value / 0x1_0000_0000);
  bytes[at + 4] = high;
  bytes[at + 5] = high >>> 8;
}

/** Names are ASCII nearly always. */
function text(bytes: Uint8Array, from: number, length: number): string {
  return asciiString(bytes, from, length) ?? new TextDecoder().decode(bytes.subarray(from, from + length));
}
