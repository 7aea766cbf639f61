/**
 * What the helper host process does (`dvs state-helper`): work on a replica's database that takes longer than the event
 * loop of a state process may stand still. It ends when it is done; its last line says what came of it.
 */
import { createHash } from "node:crypto";
import { access, open, rm } from "node:fs/promises";
import { constants, setPriority } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DvsError } from "../errors.ts";
import { syncSegments } from "../blocks/sync-segments.ts";
import { makePrivateDir } from "../files.ts";
import { isFull } from "../store/sqlite/sqlite-errors.ts";
import { segmentsIn } from "./database-blocks.ts";
import { snapshotPieceBytes } from "./limits.ts";
import { blocksDir, databaseName } from "./schema.ts";
import {
  isWhole,
  listSnapshots,
  publishSnapshot,
  type Segments,
  segmentsOf,
  type SnapshotInfo,
  snapshotInfo,
  snapshotsDir,
} from "./snapshots.ts";

export type HelperJob = "checkpoint" | "snapshot" | "blobs" | "unpack";

const jobs: Record<HelperJob, (dataDir: string, record: number) => Promise<object>> = {
  snapshot: makeSnapshot,
  checkpoint,
  async blobs(dataDir, record) {
    const [{ listNeededBlobs }, { modules }] = await Promise.all([
      import("./backup/needed-blobs.ts"),
      import("./modules.ts"),
    ]);
    return listNeededBlobs(dataDir, record, modules);
  },
  async unpack(dataDir) {
    // Only here: a checkpoint takes hardly longer than loading these.
    const [{ unpackBackup }, { modules }] = await Promise.all([
      import("./backup/unpack.ts"),
      import("./modules.ts"),
    ]);
    return unpackBackup(dataDir, modules);
  },
};
const does: Record<HelperJob, string> = {
  snapshot: "make a snapshot of",
  checkpoint: "move on the write-ahead log of",
  blobs: "list files of images in",
  unpack: "unpack a backup for",
};

/** Rejects with what went wrong; nothing has changed then. */
export async function runHelper(job: HelperJob, dataDir: string, record = 0): Promise<object> {
  // Whoever answers clients goes first.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  try {
    return await jobs[job](dataDir, record);
  } catch (cause) {
    const full = isFull(cause) || (cause as NodeJS.ErrnoException).code === "ENOSPC";
    const why = full ? "the disk is full" : cause instanceof Error ? cause.message : String(cause);
    throw new DvsError(
      full ? "EXHAUSTED" : "FAILED",
      `Cannot ${does[job]} the state in ${dataDir}: ${why}.`,
      { cause },
    );
  }
}

/** Moves the write-ahead log into the database, as far as no reader needs it. Writers go on. */
async function checkpoint(dataDir: string): Promise<{ frames: number; moved: number }> {
  const db = await openWal(dataDir);
  try {
    const row = db.prepare("PRAGMA wal_checkpoint(PASSIVE)").get() as { log: number; checkpointed: number };
    return { frames: row.log, moved: row.checkpointed };
  } finally {
    db.close();
  }
}

/** What was committed when it began, in a file of its own, on the disk and with its checksum; its blocks are, too. */
export async function makeSnapshot(dataDir: string): Promise<SnapshotInfo> {
  await makePrivateDir(snapshotsDir(dataDir));
  const path = join(snapshotsDir(dataDir), "making");
  await rm(path, { force: true });
  const db = await openWal(dataDir);
  try {
    db.prepare("VACUUM INTO ?").run(path);
  } finally {
    db.close();
  }
  const { index, epoch, segments } = contentOf(path);
  const before = await listSnapshots(dataDir);
  const same = before.find((each) => each.index === index);
  // A damaged one is made anew.
  if (same && (await isWhole(dataDir, same))) {
    await rm(path, { force: true });
    return same;
  }
  const { bytes, sha256 } = await syncAndHash(path);
  await syncSegments(blocksDir(dataDir), segments, segmentsOf(before[0] ?? null));
  const info = snapshotInfo({ index, epoch, bytes, sha256 }, segments);
  await publishSnapshot(dataDir, path, info);
  return info;
}

/** The database as another host process has it open for writing. */
async function openWal(dataDir: string): Promise<DatabaseSync> {
  const path = join(dataDir, databaseName);
  // SQLite would make one.
  await access(path);
  const db = new DatabaseSync(path);
  // Closing as the last one would begin a checkpoint; and nothing here is to be synced by SQLite.
  db.exec("PRAGMA busy_timeout = 10000; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0");
  return db;
}

function contentOf(path: string): { index: number; epoch: number; segments: Segments } {
  const db = new DatabaseSync(path);
  try {
    // A snapshot is one file: without a write-ahead log of its own.
    db.prepare("PRAGMA journal_mode = DELETE").get();
    const row = db.prepare("SELECT record, epoch FROM applied").get() as { record: number; epoch: number };
    return { index: row.record, epoch: row.epoch, segments: segmentsIn(db) };
  } finally {
    db.close();
  }
}

async function syncAndHash(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  const file = await open(path, "r+");
  try {
    await file.sync();
    const piece = new Uint8Array(snapshotPieceBytes);
    let bytes = 0;
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, piece.length, bytes);
      if (bytesRead === 0) return { bytes, sha256: hash.digest("hex") };
      hash.update(piece.subarray(0, bytesRead));
      bytes += bytesRead;
    }
  } finally {
    await file.close();
  }
}
