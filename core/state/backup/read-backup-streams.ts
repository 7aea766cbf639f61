/**
 * What a backup holds of a snapshot, behind one another: its database, the segments of blocks that it names, and files
 * of images that it names. Segments are compared with their checksums before they leave, one in memory at a time: what
 * this disk has damaged comes from another replica, or there is no backup.
 */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate as turn } from "node:timers/promises";
import { segmentName } from "../../blocks/segment-name.ts";
import { DvsError } from "../../errors.ts";
import { backupStepMs, snapshotPieceBytes } from "../limits.ts";
import type { ModuleBlocks, StateModule } from "../module.ts";
import { blocksDir } from "../schema.ts";
import { readSnapshot, segmentsOf, type SnapshotInfo, snapshotPath } from "../snapshots.ts";
import { type BackupHeader, blobsStream, blocksStream, stateStream } from "./format.ts";
import type { NeededBlobs } from "./needed-blobs.ts";

export interface BackedUp {
  dataDir: string;
  info: SnapshotInfo;
  blobs: NeededBlobs["blobs"];
  modules: readonly StateModule[];
  /** Rejects where no other replica has good bytes. */
  repair: NonNullable<ModuleBlocks["repair"]>;
  readBlob: NonNullable<ModuleBlocks["readBlob"]>;
}

export function backupStreams({
  info,
  blobs,
}: Pick<BackedUp, "info" | "blobs">): NonNullable<BackupHeader["streams"]> {
  const streams = [
    { name: stateStream, bytes: info.bytes },
    { name: blocksStream, bytes: segmentsOf(info).reduce((sum, [, length]) => sum + length, 0) },
    { name: blobsStream, bytes: blobs.reduce((sum, [, length]) => sum + length, 0) },
  ];
  return streams.filter(({ bytes }) => bytes > 0);
}

/** Rejects with FAILED where the disk has damaged something that no other replica has; UNAVAILABLE without a file of an image. */
export async function* readBackupStreams(of: BackedUp): AsyncGenerator<Uint8Array> {
  yield* readSnapshot(of.dataDir, of.info);
  const segments = segmentsOf(of.info);
  if (segments.length > 0) {
    const db = new DatabaseSync(snapshotPath(of.dataDir, of.info.index), { readOnly: true });
    try {
      for (const [segment, length] of segments) yield* piecesOf(await goodSegment(of, db, segment, length));
    } finally {
      db.close();
    }
  }
  for (const [digest, length] of of.blobs) {
    for (let at = 0; at < length; at += snapshotPieceBytes)
      yield await of.readBlob(digest, at, Math.min(snapshotPieceBytes, length - at));
  }
}

async function goodSegment(
  { dataDir, modules, repair }: BackedUp,
  db: DatabaseSync,
  segment: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = await readSegment(dataDir, segment, length);
  let turnMs = performance.now();
  for (const { backup } of modules) {
    for (const { position, length: part, isGood } of backup?.ranges(db, segment) ?? []) {
      if (!isGood(bytes.subarray(position, position + part)))
        bytes.set(await repair(segment, position, part, isGood), position);
      if (performance.now() - turnMs < backupStepMs) continue;
      await turn();
      turnMs = performance.now();
    }
  }
  return bytes;
}

/** Zeros where it is shorter than it was. */
async function readSegment(dataDir: string, segment: number, length: number): Promise<Uint8Array> {
  const path = join(blocksDir(dataDir), segmentName(segment));
  const bytes = new Uint8Array(length);
  const file = await open(path, "r").catch((e: NodeJS.ErrnoException) => {
    // The disk has lost all of it: whoever compares finds that out.
    if (e.code === "ENOENT") return null;
    throw new DvsError("FAILED", `Cannot read ${path}: ${e.message}.`, { cause: e });
  });
  if (!file) return bytes;
  try {
    for (let at = 0; at < length;) {
      const { bytesRead } = await file.read(bytes, at, length - at, at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

function* piecesOf(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += snapshotPieceBytes)
    yield bytes.subarray(at, at + snapshotPieceBytes);
}
