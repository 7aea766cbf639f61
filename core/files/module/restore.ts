/**
 * How a volume gives way to that of a backup.
 *
 * Inodes, contents and cookies get ids that nobody had before, but for the root: what somebody has open, or has read of
 * a directory, is gone and not another file (ESTALE). All that belongs to clients is gone: opens, locks, shared offsets,
 * and so the files without a name. Bytes of the image that the volume began with are bytes of its own from then on
 * (restore-plan.ts), so that it is whole wherever it is restored. Segments are others than all those before.
 */
import { segmentMax } from "../../blocks/segment-name.ts";
import {
  ModuleRefusal,
  type RestoredTable,
  type RestoreRules,
  type StateTables,
  type TakeContext,
} from "../../state/module.ts";
import { kindMask, kinds } from "../attributes.ts";
import { extentBytesMax, fileLinksMax, filePageBytes, fileSizeMax, segmentBytes } from "../../limits.ts";
import { rootIno } from "../file-system.ts";
import { nameIssue, targetIssue } from "../names.ts";
import { checksumBytes } from "./checksums.ts";
import { idsMax, planVolume } from "./restore-plan.ts";
import { volumeProblem } from "./restore-problem.ts";
import { createTable, type Table, tables } from "./tables.ts";
import { beginVolume } from "./volume.ts";

type Take = NonNullable<RestoredTable["take"]>;

const knownKinds = new Set<number>(Object.values(kinds));
const secondsMax = 2 ** 40;

const inode: Take = (row, context) => {
  const [ino, mode, nlink, uid, gid, size, allocated, ...rest] = row;
  const [atime, atimeNanos, mtime, mtimeNanos, ctime, ctimeNanos, , content, , target] = rest;
  const bits = count(mode, "mode", 0o177777);
  const kind = bits & kindMask;
  if (!knownKinds.has(kind)) refuse("mode");
  const isLink = kind === kinds.symlink;
  if (isLink ? typeof target !== "string" || targetIssue(target) : target !== null)
    refuse("target of a link");
  return [
    idOf(ino, context),
    bits,
    count(nlink, "number of links", fileLinksMax + 2),
    count(uid, "owner", 0xffff_ffff),
    count(gid, "group", 0xffff_ffff),
    count(size, "size", fileSizeMax),
    count(allocated, "size", fileSizeMax),
    ...[
      seconds(atime),
      nanos(atimeNanos),
      seconds(mtime),
      nanos(mtimeNanos),
      seconds(ctime),
      nanos(ctimeNanos),
    ],
    // Rises with each change: above all that was here before, below all that comes.
    context.begun,
    idOf(content, context),
    0,
    target as string | null,
  ];
};

const entry: Take = ([parent, name, ino, kind, cookie], context) => {
  if (typeof name !== "string" || nameIssue(name) || name === "." || name === "..") refuse("name");
  const known = count(kind, "kind", kindMask);
  if (!knownKinds.has(known)) refuse("kind");
  return [...[idOf(parent, context), name, idOf(ino, context)], ...[known, idOf(cookie, context)]];
};

const extent: Take = ([content, start, length, segment, position, lead, bytes, checksums], context) => {
  const covered = count(bytes, "length", extentBytesMax);
  const from = count(lead, "place", filePageBytes - 1);
  const taken = count(length, "length", covered);
  if (taken === 0 || from + taken > covered) refuse("length");
  const pages = Math.ceil(covered / filePageBytes);
  if (!(checksums instanceof Uint8Array) || checksums.length !== pages * checksumBytes) refuse("checksums");
  return [
    ...[idOf(content, context), count(start, "place", fileSizeMax - taken), taken],
    ...[
      context.reserved.segment + count(segment, "segment", segmentMax),
      count(position, "place", segmentBytes),
    ],
    ...[from, covered, checksums],
  ];
};

const segment: Take = ([number, bytes, live], { reserved }) => [
  reserved.segment + count(number, "segment", segmentMax),
  count(bytes, "length", segmentBytes),
  count(live, "length", fileSizeMax),
];

const seed: Take = ([digest, entries, done]) => {
  if (typeof digest !== "string" || !/^[0-9a-f]{64}$/.test(digest)) refuse("digest");
  return [digest, count(entries, "number", fileSizeMax), count(done, "number", 1)];
};

/** What it counts; where the next things go is decided at the end. */
const counter: Take = ([, bytes, bytesMax, inodes, inodesMax]) => [
  ...[0, count(bytes, "sum", fileSizeMax), count(bytesMax, "quota", fileSizeMax)],
  ...[count(inodes, "sum", fileSizeMax), count(inodesMax, "quota", fileSizeMax), 0, 0, 0, 0],
];

const restored: readonly (readonly [Table, Take?])[] = [
  [tables.inode, inode],
  [tables.entry, entry],
  [tables.extent, extent],
  [tables.segment, segment],
  [tables.seed, seed],
  [tables.counter, counter],
  [tables.blob],
  [tables.open],
  [tables.orphan],
  [tables.lock],
  [tables.waiter],
  [tables.grant],
  [tables.offset],
  [tables.sharer],
  [tables.reap],
];

/** Made by the first restore. */
const mark = `
  CREATE TABLE IF NOT EXISTS files_restored (record INTEGER NOT NULL) STRICT;
  DELETE FROM files_restored;
`;

interface CounterRow {
  next: number;
  segment: number;
  head: number;
  live: number;
}

export const filesRestore: RestoreRules = {
  tables: restored.map(([table, take]) => ({
    name: table.name,
    columns: Object.keys(table.columns),
    create: (name, tag) => createTable(table, name, tag),
    ...(take && { take }),
  })),
  problem: volumeProblem,
  plan: planVolume,

  /** The segment that is being filled ends, so that those behind it are free. */
  reserve(db, { ids, segments }, discard) {
    const { next, segment: current, head, live } = countersIn(db, tables.counter.name);
    if (ids > idsMax || next + ids > fileSizeMax || current + segments + 1 > segmentMax)
      throw new ModuleRefusal("this instance has no more numbers for so many files");
    if (segments > 0) {
      if (live > 0)
        db.prepare(`INSERT INTO ${tables.segment.name} VALUES (?, ?, ?)`).run(current, head, live);
      else if (head > 0) discard(current);
    }
    db.prepare(`UPDATE ${tables.counter.name} SET next = ?`).run(next + ids);
    if (segments > 0) {
      db.prepare(`UPDATE ${tables.counter.name} SET segment = ?, head = 0, live = 0`).run(
        current + segments + 1,
      );
    }
    return { id: next, segment: current + 1 };
  },

  restored(db, { index, timeMs, old, discard }) {
    db.exec(mark);
    db.prepare("INSERT INTO files_restored VALUES (?)").run(index);
    const before = countersIn(db, old(tables.counter.name));
    const sealed = db.prepare(`SELECT segment FROM ${old(tables.segment.name)} ORDER BY segment`).all();
    for (const row of sealed) discard(Number(row["segment"]));
    if (before.head > 0) discard(before.segment);
    // A backup from before there were files has none.
    if (!db.prepare(`SELECT 1 FROM ${tables.counter.name}`).get()) beginVolume(db);
    db.prepare(
      `UPDATE ${tables.counter.name} SET next = ?, segment = ?, head = 0, live = 0, serving = ?`,
    ).run(before.next, before.segment + 1, timeMs);
  },
};

/** 0: it never was. */
export function lastRestore(db: StateTables): number {
  if (!db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'files_restored'").get()) return 0;
  return (db.prepare("SELECT record FROM files_restored").get() as { record: number }).record;
}

function countersIn(db: StateTables, table: string): CounterRow {
  return db.prepare(`SELECT next, segment, head, live FROM ${table}`).get() as unknown as CounterRow;
}

function idOf(value: unknown, { reserved }: TakeContext): number {
  const id = count(value, "id", idsMax);
  return id === rootIno ? rootIno : reserved.id + id;
}

function count(value: unknown, what: string, max: number): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= max) return value;
  return refuse(what);
}

function seconds(value: unknown): number {
  const isTime = typeof value === "number" && Number.isSafeInteger(value) && Math.abs(value) <= secondsMax;
  return isTime ? value : refuse("time");
}

function nanos(value: unknown): number {
  return count(value, "time", 999_999_999);
}

function refuse(what: string): never {
  throw new ModuleRefusal(`a file has a ${what} that none can have`);
}
