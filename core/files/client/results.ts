/** What a volume's module answers, checked as it comes from a replica; a refusal is thrown as the FileError that it is. */
import { DvsError } from "../../errors.ts";
import { type Attributes, attributesOf, type AttributesRow } from "../attributes.ts";
import { errnos, type Errno, FileError } from "../errno.ts";
import type { DirectoryEntry, FileSystemUsage } from "../file-system.ts";

/** A name has another inode by now: whoever has asked looks again. */
export class Changed extends Error {}

/** `what` is the operation, for people: `remove "a" from directory 1`. */
export type What = () => string;

/** Values behind the error. Throws FileError, Changed. */
export function valuesOf(result: unknown, what: What): readonly unknown[] {
  if (!Array.isArray(result) || typeof result[0] !== "string") throw unreadable(what);
  const error = result[0];
  if (error === "") return result.slice(1);
  if (error === "changed") throw new Changed();
  throw new FileError(Object.hasOwn(errnos, error) ? (error as Errno) : "EIO", `cannot ${what()}`);
}

const attributeFields = 14;

export function attributesIn(value: unknown, what: What): Attributes {
  if (!Array.isArray(value) || value.length < attributeFields || !value.every(isWhole))
    throw unreadable(what);
  return attributesOf(value as unknown as AttributesRow);
}

export function bytesIn(value: unknown, what: What): Uint8Array {
  if (!(value instanceof Uint8Array)) throw unreadable(what);
  return value;
}

export function numberIn(value: unknown, what: What): number {
  if (!isWhole(value)) throw unreadable(what);
  return value;
}

export function textIn(value: unknown, what: What): string {
  if (typeof value !== "string") throw unreadable(what);
  return value;
}

export function rowsIn(value: unknown, what: What): readonly (readonly unknown[])[] {
  if (!Array.isArray(value) || !value.every((row) => Array.isArray(row))) throw unreadable(what);
  return value as readonly (readonly unknown[])[];
}

/** Rows of a listing; attributes where they were asked for. */
export function entriesIn(value: unknown, what: What, withAttributes = false): DirectoryEntry[] {
  return rowsIn(value, what).map(([name, ino, kind, cookie, row]) => ({
    name: textIn(name, what),
    ino: numberIn(ino, what),
    kind: numberIn(kind, what),
    cookie: numberIn(cookie, what),
    ...(withAttributes && { attributes: attributesIn(row, what) }),
  }));
}

export function usageIn(values: readonly unknown[], what: What): FileSystemUsage {
  const [bytes, bytesMax, inodes, inodesMax, bytesFree] = values.map((value) => numberIn(value, what));
  return {
    bytes: bytes!,
    bytesMax: bytesMax!,
    inodes: inodes!,
    inodesMax: inodesMax!,
    bytesFree: numberIn(bytesFree, what),
  };
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function unreadable(what: What): DvsError {
  return new DvsError(
    "INTERNAL",
    `Cannot ${what()}: the replica's answer is none. Is it of another version?`,
  );
}
