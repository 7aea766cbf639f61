/**
 * What each write and each read of the key-value passes, checked by hand: zod took a fifth of a write's time. Nothing
 * is accepted here that the schemas (kv-messages.ts) refuse; what is not accepted here they judge, and word the refusal.
 */
import { encode } from "@msgpack/msgpack";
import { parseOrThrow } from "../../errors.ts";
import { kvKeyBytesMax, kvValueBytesMax } from "../../limits.ts";
import { KvFound, KvOperation, KvQuery, KvResult } from "./kv-messages.ts";

/** Throws INVALID. */
export function checkedOperation(value: unknown, what: string): KvOperation {
  return isPlainPut(value) ? value : parseOrThrow(KvOperation, value, what);
}

/** Throws INVALID. */
export function checkedQuery(value: unknown, what: string): KvQuery {
  return isKeyQuery(value) ? value : parseOrThrow(KvQuery, value, what);
}

/** Of a replica's answer. Throws. */
export function checkedResult(value: unknown): KvResult {
  if (typeof value === "object" && value !== null) {
    const { done, revision } = value as Record<string, unknown>;
    if (typeof done === "boolean" && isRevision(revision)) return { done, revision };
  }
  return KvResult.parse(value);
}

/** Of a replica's answer. Throws. */
export function checkedFound(value: unknown): KvFound {
  if (typeof value === "object" && value !== null) {
    const { entries, more } = value as Record<string, unknown>;
    if (more === false && Array.isArray(entries)) {
      if (entries.length === 0) return { entries: [], more };
      if (entries.length === 1 && isPlainEntry(entries[0])) return { entries: [entries[0]], more };
    }
  }
  return KvFound.parse(value);
}

/** `{op: "put", key, value}` of a short key. */
function isPlainPut(value: unknown): value is { op: "put"; key: string; value: Uint8Array } {
  if (!hasFields(value, 3)) return false;
  const { op, key, value: bytes } = value;
  return op === "put" && isShortKey(key) && bytes instanceof Uint8Array && bytes.length <= kvValueBytesMax;
}

function isKeyQuery(value: unknown): value is { get: "key"; key: string } {
  return hasFields(value, 2) && value["get"] === "key" && isShortKey(value["key"]);
}

function isPlainEntry(value: unknown): value is { key: string; value: Uint8Array; revision: number } {
  if (!hasFields(value, 3)) return false;
  const { key, value: bytes, revision } = value;
  return typeof key === "string" && bytes instanceof Uint8Array && isRevision(revision);
}

/** An object as the wire and callers make it, with no more fields than that. */
function hasFields(value: unknown, many: number): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return false;
  let fields = 0;
  for (const _ in value) fields++;
  return fields === many;
}

/** So short that its UTF-8 cannot be too long. */
function isShortKey(key: unknown): key is string {
  return typeof key === "string" && key.length > 0 && 3 * key.length <= kvKeyBytesMax && key.isWellFormed();
}

function isRevision(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Where the fields of a put of an ASCII key lie in the bytes of a record; its value ends with them. */
export interface EncodedPut {
  keyAt: number;
  keyEnd: number;
  valueAt: number;
}

/** How `{op: "put", key, value}` begins, and what is between its key and its value. */
const head = encode({ op: "put", key: "", value: "" }).subarray(0, 12);
const middle = encode("value");

/** Null: it is something else, or differently encoded, and has to be decoded. */
export function readEncodedPut(bytes: Uint8Array): EncodedPut | null {
  if (!hasAt(bytes, 0, head)) return null;
  let at = head.length;
  const keyLength = strLength(bytes, at);
  if (keyLength < 1 || keyLength > kvKeyBytesMax) return null;
  const keyAt = at + (keyLength < 32 ? 1 : keyLength < 256 ? 2 : 3);
  at = keyAt + keyLength;
  for (let i = keyAt; i < at; i++) if (!(bytes[i]! < 0x80)) return null;
  if (!hasAt(bytes, at, middle)) return null;
  at += middle.length;
  const kind = bytes[at];
  const sizeBytes = kind === 0xc4 ? 1 : kind === 0xc5 ? 2 : kind === 0xc6 ? 4 : 0;
  if (sizeBytes === 0 || at + 1 + sizeBytes > bytes.length) return null;
  let length = 0;
  for (let i = 1; i <= sizeBytes; i++) length = length * 256 + bytes[at + i]!;
  at += 1 + sizeBytes;
  if (length > kvValueBytesMax || at + length !== bytes.length) return null;
  return { keyAt, keyEnd: keyAt + keyLength, valueAt: at };
}

/** Of a string in its shortest form; 0: it is none. */
function strLength(bytes: Uint8Array, at: number): number {
  const kind = bytes[at] ?? 0;
  if (kind >= 0xa0 && kind < 0xc0) return kind - 0xa0;
  const length = kind === 0xd9 ? bytes[at + 1]! : kind === 0xda ? bytes[at + 1]! * 256 + bytes[at + 2]! : 0;
  return length >= (kind === 0xda ? 256 : 32) ? length : 0;
}

function hasAt(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  if (at + part.length > bytes.length) return false;
  for (let i = 0; i < part.length; i++) if (bytes[at + i] !== part[i]) return false;
  return true;
}

/** Its key. */
export function textOfPut(bytes: Uint8Array, { keyAt, keyEnd }: EncodedPut): string {
  const letters: number[] = [];
  for (let i = keyAt; i < keyEnd; i++) letters.push(bytes[i]!);
  return String.fromCharCode(...letters);
}
