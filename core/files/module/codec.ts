/**
 * Operations and queries from outside, checked by a table of their fields. By hand and not by zod: this is a part of
 * each write's time. An operation goes into the log as msgpack of its array.
 */
import { Decoder, Encoder } from "@msgpack/msgpack";
import { DvsError } from "../../errors.ts";
import {
  fileEntriesMax,
  filePathBytesMax,
  fileSizeMax,
  groupsPerUserMax,
  lockOwnerCharsMax,
  movedPiecesMax,
  readBytesMaxPerAsk,
  releaseInosMax,
  seedEntriesMax,
  writeBytesMax,
} from "../../limits.ts";
import { clientBytesMax } from "../../replica/timings.ts";
import { ModuleRefusal } from "../../state/module.ts";
import type { FileFollow, FileOperation, FileOperationName, FileQuery } from "../operations.ts";

/** One field: its name, and what is wrong with a value; null: nothing. */
type Field = readonly [name: string, issue: (value: unknown) => string | null];

const whole = (least: number, most: number) => (value: unknown) =>
  Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
    ? null
    : `must be a whole number from ${least} to ${most}`;
const id = whole(1, Number.MAX_SAFE_INTEGER);
const idOrNone = whole(0, Number.MAX_SAFE_INTEGER);
const flag = whole(0, 1);
const offset = whole(0, fileSizeMax);
const userMax = 0xffff_fffe;
const user = whole(0, userMax);
const userOrNone = whole(-1, userMax);

const text = (charsMax: number) => (value: unknown) =>
  typeof value === "string" && value.length <= charsMax && value.isWellFormed()
    ? null
    : `must be well-formed text of at most ${charsMax} characters`;
// What is too long for a directory is the operation's to refuse.
const name = text(filePathBytesMax);
const label = (value: unknown) =>
  typeof value === "string" && value.length <= lockOwnerCharsMax && /^[\x20-\x7e]+$/.test(value)
    ? null
    : `must be 1 to ${lockOwnerCharsMax} printable characters`;
const clientName = (value: unknown) =>
  typeof value === "string" && value.length >= 1 && value.length <= clientBytesMax
    ? null
    : "must be the name of a client";
const digest = (value: unknown) =>
  typeof value === "string" && /^[0-9a-f]{64}$/.test(value) ? null : "must be a SHA-256 in hex";
const bytes = (bytesMin: number) => (value: unknown) =>
  value instanceof Uint8Array && value.length >= bytesMin && value.length <= writeBytesMax
    ? null
    : `must be ${bytesMin} to ${writeBytesMax} bytes`;
const list = (lengthMax: number, issue: (value: unknown) => string | null) => (value: unknown) => {
  if (!Array.isArray(value) || value.length > lengthMax) return `must be a list of at most ${lengthMax}`;
  for (const item of value) {
    const wrong = issue(item);
    if (wrong !== null) return `has an item that ${wrong}`;
  }
  return null;
};
const tuple = (fields: readonly Field[]) => (value: unknown) => {
  if (!Array.isArray(value) || value.length !== fields.length) return `must have ${fields.length} fields`;
  return fieldsIssue(value, fields, 0);
};

const groups = list(groupsPerUserMax, user);
const by = (value: unknown) => {
  if (!Array.isArray(value) || value.length !== 3) return "must be [uid, gid, groups]";
  return user(value[0]) ?? user(value[1]) ?? groups(value[2]);
};
const byOrNone = (value: unknown) => (value === null ? null : by(value));
const secondsMax = 2 ** 43;
const seconds = whole(-secondsMax, secondsMax);
const nanos = whole(0, 999_999_999);
const time = (value: unknown) => {
  if (value === null || value === 0) return null;
  if (!Array.isArray(value) || value.length !== 2) return "must be [seconds, nanos], null or 0";
  return seconds(value[0]) ?? nanos(value[1]);
};

const operations: Record<FileOperationName, readonly [number: number, ...fields: Field[]]> = {
  create: [
    1,
    ["by", by],
    ["parent", id],
    ["name", name],
    ["mode", whole(0, 0o177777)],
    ["target", text(filePathBytesMax)],
    ["open", flag],
    ["exclusive", flag],
  ],
  link: [2, ["by", by], ["ino", id], ["parent", id], ["name", name]],
  unlink: [3, ["by", by], ["parent", id], ["name", name], ["ino", id]],
  removeDirectory: [4, ["by", by], ["parent", id], ["name", name], ["ino", id]],
  rename: [
    5,
    ["by", by],
    ["parent", id],
    ["name", name],
    ["toParent", id],
    ["toName", name],
    ["how", whole(0, 2)],
    ["ino", id],
    ["replaced", idOrNone],
  ],
  setAttributes: [
    6,
    ["by", by],
    ["ino", id],
    ["mode", whole(-1, 0o177777)],
    ["uid", userOrNone],
    ["gid", userOrNone],
    ["size", whole(-1, fileSizeMax)],
    ["atime", time],
    ["mtime", time],
    ["opened", flag],
  ],
  write: [7, ["by", by], ["ino", id], ["offset", whole(-1, fileSizeMax)], ["bytes", bytes(1)]],
  open: [8, ["ino", id]],
  release: [9, ["inos", list(releaseInosMax, id)]],
  lock: [
    10,
    ["ino", id],
    ["type", flag],
    ["kind", whole(0, 2)],
    ["start", offset],
    ["end", whole(-1, fileSizeMax)],
    ["owner", label],
    ["pid", whole(-0x8000_0000, 0xffff_ffff)],
    ["wait", idOrNone],
  ],
  cancelLock: [11, ["ino", id], ["wait", id]],
  makeOffset: [12, ["ino", id], ["id", label]],
  joinOffset: [13, ["id", label]],
  takeOffset: [14, ["id", label], ["length", offset], ["beyondEnd", flag]],
  seekOffset: [15, ["id", label], ["offset", offset]],
  leaveOffset: [16, ["id", label]],
  attend: [17, ["ttlMs", whole(1_000, 24 * 60 * 60_000)]],
  setQuota: [18, ["bytesMax", offset], ["inodesMax", offset]],
  seed: [
    19,
    ["digest", digest],
    ["from", idOrNone],
    [
      "entries",
      list(
        seedEntriesMax,
        tuple([
          ["path", text(filePathBytesMax)],
          ["mode", whole(0, 0o177777)],
          ["size", offset],
          ["content", text(filePathBytesMax)],
        ]),
      ),
    ],
    ["last", flag],
  ],
  put: [
    20,
    ["by", by],
    ["parent", id],
    ["name", name],
    ["replaced", idOrNone],
    ["mode", whole(0, 0o7777)],
    ["uid", userOrNone],
    ["gid", userOrNone],
    ["mtime", time],
    ["bytes", bytes(0)],
  ],
  reap: [32],
  move: [
    33,
    ["segment", id],
    [
      "pieces",
      list(
        movedPiecesMax,
        tuple([
          ["ino", id],
          ["start", offset],
          ["position", offset],
          ["length", whole(1, writeBytesMax)],
        ]),
      ),
    ],
    ["bytes", bytes(1)],
  ],
  expire: [34],
};

const queries: Record<FileQuery[0], readonly Field[]> = {
  attributes: [["ino", id]],
  lookup: [
    ["by", byOrNone],
    ["parent", id],
    ["name", name],
  ],
  entries: [
    ["ino", id],
    ["after", idOrNone],
    ["limit", whole(1, fileEntriesMax)],
    ["withAttributes", flag],
  ],
  link: [["ino", id]],
  read: [
    ["ino", id],
    ["offset", offset],
    ["length", whole(0, readBytesMaxPerAsk)],
  ],
  extents: [
    ["ino", id],
    ["offset", offset],
    ["length", offset],
  ],
  blob: [["row", id]],
  lockedBy: [
    ["ino", id],
    ["type", flag],
    ["kind", whole(1, 2)],
    ["start", offset],
    ["end", whole(-1, fileSizeMax)],
    ["owner", label],
    ["client", clientName],
  ],
  offset: [["id", label]],
  usage: [],
  path: [
    ["by", by],
    ["path", text(4 * filePathBytesMax)],
    ["follow", flag],
  ],
};

const follows: Record<FileFollow[0], readonly Field[]> = {
  changes: [["after", whole(-1, Number.MAX_SAFE_INTEGER)]],
  granted: [
    ["client", clientName],
    ["after", idOrNone],
  ],
};

/** By number. */
const shapes = new Map<unknown, readonly [name: FileOperationName, fields: readonly Field[]]>();
for (const [operation, [number, ...fields]] of Object.entries(operations)) {
  shapes.set(number, [operation as FileOperationName, fields]);
}

const encoder = new Encoder();
const decoder = new Decoder();

/** Throws INVALID for what is no operation. */
export function encodeOperation(value: unknown): Uint8Array {
  const issue = operationIssue(value);
  if (issue === null) return encoder.encode(value);
  throw new DvsError("INVALID", `This is no operation of a file system: ${issue}.`);
}

/** Throws ModuleRefusal: the bytes may be those of a newer dvs. */
export function decodeOperation(encoded: Uint8Array): FileOperation {
  let value: unknown;
  try {
    value = decoder.decode(encoded);
  } catch {
    // Refused below.
  }
  if (operationIssue(value) === null) return value as FileOperation;
  throw new ModuleRefusal("this is no operation of a file system");
}

/** Throws INVALID. */
export function checkedQuery(value: unknown): FileQuery {
  return checkedByName(value, queries, "query") as unknown as FileQuery;
}

/** Throws INVALID. */
export function checkedFollow(value: unknown): FileFollow {
  return checkedByName(value, follows, "subscription") as unknown as FileFollow;
}

function operationIssue(value: unknown): string | null {
  if (!Array.isArray(value)) return "it must be a list";
  const shape = shapes.get(value[0]);
  if (!shape) return `there is no operation ${String(value[0])}`;
  const [operation, fields] = shape;
  if (value.length !== fields.length + 1) return `"${operation}" has ${fields.length} fields`;
  const issue = fieldsIssue(value, fields, 1);
  return issue === null ? null : `"${operation}": ${issue}`;
}

function checkedByName(value: unknown, table: Record<string, readonly Field[]>, what: string): unknown[] {
  const refused = (issue: string) =>
    new DvsError("INVALID", `This is no ${what} of a file system: ${issue}.`);
  if (!Array.isArray(value) || typeof value[0] !== "string" || !Object.hasOwn(table, value[0])) {
    throw refused(`it must be a list that begins with one of ${Object.keys(table).join(", ")}`);
  }
  const fields = table[value[0]]!;
  if (value.length !== fields.length + 1) throw refused(`"${value[0]}" has ${fields.length} fields`);
  const issue = fieldsIssue(value, fields, 1);
  if (issue !== null) throw refused(`"${value[0]}": ${issue}`);
  return value;
}

function fieldsIssue(values: readonly unknown[], fields: readonly Field[], from: number): string | null {
  for (let i = 0; i < fields.length; i++) {
    const [field, issueOf] = fields[i]!;
    const issue = issueOf(values[from + i]);
    if (issue !== null) return `"${field}" ${issue}`;
  }
  return null;
}
