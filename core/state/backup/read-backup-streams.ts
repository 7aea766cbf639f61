/** What a backup holds of a snapshot, behind one another: its database, and the segments of blocks that it names. */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { segmentName } from "../../blocks/segment-name.ts";
import { DvsError } from "../../errors.ts";
import { snapshotPieceBytes } from "../limits.ts";
import { blocksDir } from "../schema.ts";
import { readSnapshot, segmentsOf, type SnapshotInfo } from "../snapshots.ts";
import { type BackupHeader, blocksStream, stateStream } from "./format.ts";

export function backupStreams(info: SnapshotInfo): NonNullable<BackupHeader["streams"]> {
  const state = { name: stateStream, bytes: info.bytes };
  const bytes = segmentsOf(info).reduce((sum, [, length]) => sum + length, 0);
  return bytes === 0 ? [state] : [state, { name: blocksStream, bytes }];
}

/** Rejects with FAILED where the disk has damaged the database, or has lost bytes of a segment. */
export async function* readBackupStreams(dataDir: string, info: SnapshotInfo): AsyncGenerator<Uint8Array> {
  yield* readSnapshot(dataDir, info);
  for (const [segment, length] of segmentsOf(info)) yield* readSegment(dataDir, segment, length);
}

async function* readSegment(dataDir: string, segment: number, length: number): AsyncGenerator<Uint8Array> {
  const path = join(blocksDir(dataDir), segmentName(segment));
  const file = await open(path, "r");
  try {
    let position = 0;
    while (position < length) {
      const piece = new Uint8Array(Math.min(snapshotPieceBytes, length - position));
      const { bytesRead } = await file.read(piece, 0, piece.length, position);
      if (bytesRead === 0)
        throw new DvsError("FAILED", `Cannot read ${path}: it ends at ${position} of ${length} bytes.`);
      position += bytesRead;
      yield piece.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}
