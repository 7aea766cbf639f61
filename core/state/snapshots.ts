/**
 * Snapshots of a replica's database, in a directory of their own: `snapshot-INDEX.db`, and beside it `.json` with its
 * checksum and the segments of blocks (core/blocks) that it names, written when all of this is on the disk. One without
 * the other does not count. Segments are not copied: they only grow, so that a snapshot is a length of each. The log may be given back up
 * to the newest, and never before it is whole: it is all that a replica has of those records.
 */
import { createHash } from "node:crypto";
import { open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { segmentLengthMax, segmentsMax } from "../blocks/limits.ts";
import { segmentMax } from "../blocks/segment-name.ts";
import { DvsError } from "../errors.ts";
import { makePrivateDir, readJsonFile, writeAll, writeSmallFile } from "../files.ts";
import { snapshotPieceBytes } from "./limits.ts";

const fields = {
  /** The last record that it has, and its epoch. */
  index: z.number().int().min(0),
  epoch: z.number().int().min(0),
  bytes: z.number().int().min(1),
  /** SHA-256 in hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
};
const SnapshotSegment = z.tuple([
  z.number().int().min(1).max(segmentMax),
  z.number().int().min(0).max(segmentLengthMax),
]);
/** Format 2 where there are segments: older versions of dvs, which know none, read the others. */
export const SnapshotInfo = z.discriminatedUnion("format", [
  z.strictObject({ format: z.literal(1), ...fields }),
  z.strictObject({ format: z.literal(2), ...fields, segments: z.array(SnapshotSegment).max(segmentsMax) }),
]);
export type SnapshotInfo = z.infer<typeof SnapshotInfo>;

/** `[number, bytes]`, ascending. */
export type Segments = readonly (readonly [segment: number, length: number])[];

export function segmentsOf(info: SnapshotInfo | null): Segments {
  return info?.format === 2 ? info.segments : [];
}

export function snapshotInfo(
  { index, epoch, bytes, sha256 }: Pick<SnapshotInfo, keyof typeof fields>,
  segments: Segments,
): SnapshotInfo {
  const common = { index, epoch, bytes, sha256 };
  if (segments.length === 0) return { format: 1, ...common };
  return { format: 2, ...common, segments: segments.map(([segment, length]) => [segment, length]) };
}

const dirName = "snapshots";
const manifestName = /^snapshot-\d{16}\.json$/;

export function snapshotsDir(dataDir: string): string {
  return join(dataDir, dirName);
}

export function snapshotPath(dataDir: string, index: number): string {
  return join(snapshotsDir(dataDir), `snapshot-${String(index).padStart(16, "0")}.db`);
}

/** Those that are whole, as far as their size tells; the newest first. Makes the directory. */
export async function listSnapshots(dataDir: string): Promise<SnapshotInfo[]> {
  const dir = snapshotsDir(dataDir);
  await makePrivateDir(dir);
  const names = (await readdir(dir)).filter((name) => manifestName.test(name)).sort();
  const found: SnapshotInfo[] = [];
  for (const name of names.reverse()) {
    const info = SnapshotInfo.safeParse(await readJsonFile(join(dir, name)));
    if (info.success && (await sizeOf(snapshotPath(dataDir, info.data.index))) === info.data.bytes) {
      found.push(info.data);
    }
  }
  return found;
}

/** A file of this directory, complete and fsynced, becomes the snapshot that it is. */
export async function publishSnapshot(dataDir: string, file: string, info: SnapshotInfo): Promise<void> {
  const path = snapshotPath(dataDir, info.index);
  await rename(file, path);
  // Also syncs the directory, in which the other file has its name by now.
  await writeSmallFile(manifestPath(path), JSON.stringify(info), { durable: true });
}

/** Removes all but the given one, and what was left half made. Nothing may be in the making. */
export async function removeOtherSnapshots(dataDir: string, kept: SnapshotInfo): Promise<void> {
  const dir = snapshotsDir(dataDir);
  const path = snapshotPath(dataDir, kept.index);
  for (const name of await readdir(dir)) {
    const each = join(dir, name);
    if (each !== path && each !== manifestPath(path)) await rm(each, { force: true });
  }
}

/** Pieces of a file, in order. Rejects with FAILED at the end when its checksum is not the one of `info`. */
export async function* readSnapshot(dataDir: string, info: SnapshotInfo): AsyncGenerator<Uint8Array> {
  const path = snapshotPath(dataDir, info.index);
  const hash = createHash("sha256");
  const file = await open(path, "r");
  try {
    let position = 0;
    while (position < info.bytes) {
      const piece = new Uint8Array(Math.min(snapshotPieceBytes, info.bytes - position));
      const { bytesRead } = await file.read(piece, 0, piece.length, position);
      if (bytesRead === 0) break;
      position += bytesRead;
      const read = piece.subarray(0, bytesRead);
      hash.update(read);
      yield read;
    }
    if (hash.digest("hex") !== info.sha256) throw damaged(path);
  } finally {
    await file.close();
  }
}

/** Whether the disk has it as it was written. `pace` is awaited after each piece, of so many bytes. */
export async function isWhole(
  dataDir: string,
  info: SnapshotInfo,
  pace?: (bytes: number) => Promise<void>,
): Promise<boolean> {
  try {
    for await (const piece of readSnapshot(dataDir, info)) await pace?.(piece.length);
    return true;
  } catch (e) {
    if (!(e instanceof DvsError) || e.code !== "FAILED") throw e;
    return false;
  }
}

/** Copies a snapshot to where the database is; whatever was there must be gone. Rejects with FAILED when it is damaged. */
export async function restoreDatabase(
  dataDir: string,
  info: SnapshotInfo,
  databasePath: string,
): Promise<void> {
  const temporary = `${databasePath}.new`;
  const file = await open(temporary, "w", 0o600);
  try {
    for await (const piece of readSnapshot(dataDir, info)) await writeAll(file, piece);
  } catch (e) {
    await rm(temporary, { force: true });
    throw e;
  } finally {
    await file.close();
  }
  await removeDatabase(databasePath);
  await rename(temporary, databasePath);
}

export async function removeDatabase(path: string): Promise<void> {
  for (const suffix of ["", "-wal", "-shm"]) await rm(path + suffix, { force: true });
}

function manifestPath(path: string): string {
  return path.replace(/\.db$/, ".json");
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    const file = await open(path, "r");
    try {
      return (await file.stat()).size;
    } finally {
      await file.close();
    }
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw e;
  }
}

function damaged(path: string): DvsError {
  return new DvsError(
    "FAILED",
    `Cannot use the snapshot ${path}: its checksum is wrong, so the disk has damaged it.`,
  );
}
