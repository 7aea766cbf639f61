/**
 * What a replica has on its disk, opened in the order that keeps its promises:
 *
 *     log/metadata    who it is and what it has promised; says "open, in this boot" before anything else happens
 *     log/…           segments of the log (core/log)
 *     snapshots/…     of the database: what the log no longer has (snapshots.ts)
 *     blocks/…        bytes that are too many for tables (core/blocks): the database and its snapshots name them
 *     state.db        what the log has brought about; thrown away where it may be wrong, and made anew from these
 *
 * Of a machine that lost its power without an orderly end, the database is worth nothing (it is never synced), and
 * where records were acknowledged before they were synced, the replica is an amnesiac (DESIGN.md section 5, rule 4).
 * It is one, too, when the disk has damaged acknowledged records that the database has not: it is cut before them, and
 * gets them from the others.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type BlockStore, openBlockStore } from "../blocks/block-store.ts";
import { DvsError } from "../errors.ts";
import { makePrivateDir } from "../files.ts";
import type { Log, LogListener } from "../log/log.ts";
import { type Metadata, MetadataFile, readMetadata, writeMetadata } from "../log/metadata.ts";
import type { LogFiles } from "../log/log-files.ts";
import { nodeFiles } from "../log/node-files.ts";
import { openLog } from "../log/open-log.ts";
import { call, promised } from "../log/steps.ts";
import { loopTiming } from "../log/timing.ts";
import { bootId } from "../platform/uptime.ts";
import type { EpochRun } from "../replica/epoch-table.ts";
import { LogRecord } from "../replica/record.ts";
import type { RecoveredLog } from "../replica/replica-log.ts";
import type { ReplicaMeta } from "../replica/sink.ts";
import { StateDatabase } from "./database.ts";
import { fullRetryMs } from "./limits.ts";
import type { ModuleBlocks, StateModule } from "./module.ts";
import { askHelper } from "./run-helper.ts";
import { blocksDir, databaseName } from "./schema.ts";
import {
  listSnapshots,
  removeDatabase,
  removeOtherSnapshots,
  restoreDatabase,
  segmentsOf,
  type SnapshotInfo,
} from "./snapshots.ts";

export interface ReplicaDisk {
  metadata: MetadataFile;
  log: Log;
  /** Another one after a snapshot was installed. */
  database: StateDatabase;
  blocks: BlockStore;
  /** The newest. */
  snapshot: SnapshotInfo | null;
  /** What a ReplicaMachine begins with. */
  recovered: RecoveredLog;
  meta: ReplicaMeta;
}

export interface ReplicaDiskOptions {
  dir: string;
  modules: readonly StateModule[];
  /** Missing: those of `dir`. */
  blockFiles?: LogFiles;
  listener: LogListener;
  /** Fetches from another replica what this disk has damaged. */
  repairBlocks?: ModuleBlocks["repair"];
  /** Reads files of images. */
  readBlob?: ModuleBlocks["readBlob"];
  /** For what is to be put there, as the replicas' disks are. */
  bytesFree?: ModuleBlocks["bytesFree"];
  /** Nothing can be applied any more. */
  databaseFailed: (error: Error) => void;
  /** The database finds no room on the disk, or has found some again. */
  databaseFull?: (full: boolean) => void;
  /** So do blocks. */
  blocksFull?: (full: boolean) => void;
  /** All records up to there are in the database's file. */
  databaseCommitted?: (index: number) => void;
  log: (level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>) => void;
}

/**
 * Rejects with FAILED where what is there cannot be trusted any more: the replica is then to be removed, and another
 * takes its place.
 */
export async function openReplicaDisk(options: ReplicaDiskOptions): Promise<ReplicaDisk> {
  const { dir, log: say } = options;
  const logDir = join(dir, "log");
  await makePrivateDir(logDir);
  const files = nodeFiles(logDir);
  const found = await promised(readMetadata(files));
  const boot = bootId();
  const lostPower = found !== null && found.bootId !== boot && found.clean === null;
  const metadata: Metadata = {
    ...(found ?? newMetadata()),
    amnesiac: found !== null && (found.amnesiac || (lostPower && found.mode === "replicated")),
    bootId: boot,
    clean: null,
  };
  const databasePath = join(dir, databaseName);
  if (found === null || lostPower) await removeDatabase(databasePath);
  if (lostPower) say("warn", "the machine ended without notice: the database is made anew from the log", {});
  // From here on an end without a word is one.
  await promised(writeMetadata(files, metadata));

  const snapshots = await listSnapshots(dir);
  const snapshot = snapshots[0] ?? null;
  const opened = await new Promise<{ log: Log; torn: number }>((resolve, reject) => {
    const durable = found?.clean?.durable ?? 0;
    openLog(
      files,
      { disk: metadata.disk, snapshot, durable, timing: loopTiming, listener: options.listener },
      (e, result) => (e ? reject(e) : resolve(result!)),
    );
  });
  const { log, torn } = opened;
  if (torn > 0) say("info", "the end of the log was never synced, and is cut off", { bytes: torn });
  const [damaged] = log.damage;
  const made = damaged ? await snapshotInstead(options, log) : null;
  if (damaged && !made) {
    say("error", "the disk has damaged records of the log: they come from the other replicas", {
      ranges: log.damage,
    });
    // Known before the first of them is gone.
    metadata.amnesiac = true;
    metadata.damaged = true;
    await promised(writeMetadata(files, metadata));
    if (damaged.from > log.firstIndex) log.truncateAfter(damaged.from - 1);
    else await resetLog(log, damaged.from - 1, log.epochAt(damaged.from - 1) ?? 0);
  }
  const blocks = await openBlocks(options);
  const database = await openDatabase(options, log, made ? [made, ...snapshots] : snapshots, blocks);
  blocks.begin(database.appliedIndex, database.segments, new Map(segmentsOf(made ?? snapshot)));
  const {
    epochSeen,
    generationSeen,
    mode,
    amnesiac,
    damaged: isDamaged = false,
    memberVersion = 0,
  } = metadata;
  return {
    metadata: new MetadataFile(files, metadata, (run) => loopTiming.after(fullRetryMs, run)),
    log,
    database,
    blocks,
    snapshot: made ?? snapshot,
    recovered: { ...recoveredOf(log), timeMs: await timeOfLast(log) },
    meta: { epochSeen, generationSeen, mode, amnesiac, damaged: isDamaged, memberVersion },
  };
}

/** The state of a snapshot, which lies in this directory, takes the place of all that the replica has. */
export async function installSnapshot(
  disk: ReplicaDisk,
  options: ReplicaDiskOptions,
  info: SnapshotInfo,
): Promise<void> {
  // One with more, which is not the truth any more, would be taken for the newest by the next start.
  await removeOtherSnapshots(options.dir, info);
  await resetLog(disk.log, info.index, info.epoch);
  disk.database.close();
  const path = join(options.dir, databaseName);
  await restoreDatabase(options.dir, info, path);
  disk.database = newDatabase(options, path, disk.blocks);
  disk.blocks.begin(info.index, disk.database.segments, new Map(segmentsOf(info)));
  disk.snapshot = info;
}

function resetLog(log: Log, index: number, epoch: number): Promise<void> {
  return new Promise((resolve, reject) => log.reset(index, epoch, (e) => (e ? reject(e) : resolve())));
}

/** Nothing is lost where the database has what damaged records did: a snapshot of it takes their place. Null: it has not. */
async function snapshotInstead(options: ReplicaDiskOptions, log: Log): Promise<SnapshotInfo | null> {
  const { dir, log: say } = options;
  const { to } = log.damage.at(-1)!;
  const path = join(dir, databaseName);
  // Opening would make one.
  if (!existsSync(path)) return null;
  try {
    const database = newDatabase(options, path);
    const has = isOf(log, database) && database.appliedIndex >= to;
    database.close();
    if (!has) return null;
    const info = await askHelper("snapshot", dir, new AbortController().signal);
    if (to === log.lastIndex) await resetLog(log, info.index, info.epoch);
    else log.discardUpTo(info.index);
    say("warn", "the disk has damaged records of the log: a snapshot of the database has them", info);
    return info;
  } catch (e) {
    if (!(e instanceof DvsError) || e.code !== "FAILED") throw e;
    say("error", "the database does not take the place of damaged records", { error: e.message });
    return null;
  }
}

async function openBlocks(options: ReplicaDiskOptions): Promise<BlockStore> {
  const { dir, databaseFailed, blocksFull } = options;
  const path = blocksDir(dir);
  await makePrivateDir(path);
  const files = options.blockFiles ?? nodeFiles(path);
  const after = (ms: number, run: () => void): void => loopTiming.after(ms, run);
  const events = { full: (full: boolean) => blocksFull?.(full), failed: databaseFailed };
  return promised(call((done) => openBlockStore({ files, after, ...events }, done)));
}

async function openDatabase(
  options: ReplicaDiskOptions,
  log: Log,
  snapshots: readonly SnapshotInfo[],
  blocks: BlockStore,
): Promise<StateDatabase> {
  const { dir, log: say } = options;
  const path = join(dir, databaseName);
  try {
    const database = newDatabase(options, path, blocks);
    if (isOf(log, database)) return database;
    // It is so, too, where it was just made.
    if (database.appliedIndex > 0)
      say("warn", "the database is not of this log, and is made anew from it", {});
    database.close();
  } catch (e) {
    if (!(e instanceof DvsError) || e.code !== "FAILED") throw e;
    say("error", "the database is damaged, and is made anew from the log", { error: e.message });
  }
  await removeDatabase(path);
  for (const info of snapshots) {
    if (info.index < log.firstIndex - 1) break;
    try {
      await restoreDatabase(dir, info, path);
      return newDatabase(options, path, blocks);
    } catch (e) {
      if (!(e instanceof DvsError) || e.code !== "FAILED") throw e;
      say("error", "a snapshot is damaged", { index: info.index, error: e.message });
      await removeDatabase(path);
    }
  }
  if (log.firstIndex === 1) return newDatabase(options, path, blocks);
  throw new DvsError(
    "FAILED",
    `Cannot go on with the replica in ${dir}: its log begins with record ${log.firstIndex}, and no snapshot has those before. Remove it; another one takes its place.`,
  );
}

/** Whether the log goes on where the database ends. */
function isOf(log: Log, { appliedIndex, appliedEpoch }: StateDatabase): boolean {
  if (appliedIndex < log.firstIndex - 1 || appliedIndex > log.lastIndex) return false;
  const epoch = log.epochAt(appliedIndex);
  return appliedIndex === 0 || epoch === null || epoch === appliedEpoch;
}

function newDatabase(
  {
    modules,
    repairBlocks,
    readBlob,
    bytesFree,
    databaseFailed,
    databaseFull,
    databaseCommitted,
    log: say,
  }: ReplicaDiskOptions,
  path: string,
  blocks?: BlockStore,
): StateDatabase {
  return new StateDatabase({
    path,
    modules,
    ...(blocks && { blocks, repairBlocks, readBlob, bytesFree }),
    after: (ms, run) => void setTimeout(run, ms),
    defect: (module, e) => say("error", `module ${module} has a defect`, { error: String(e) }),
    ...(databaseCommitted && { committed: databaseCommitted }),
    ...(databaseFull && { full: databaseFull }),
    failed: databaseFailed,
  });
}

function newMetadata(): Metadata {
  const disk = randomBytes(16).toString("hex");
  const none = { epochSeen: 0, generationSeen: 0, amnesiac: false, bootId: "", clean: null };
  return { disk, mode: "fsync", ...none };
}

/** Of the last record on the disk; 0 where none can be read. */
function timeOfLast(log: Log): Promise<number> {
  return new Promise((resolve) => {
    log.read(log.lastIndex, 1, (_error, records) => {
      const last = records?.[0];
      resolve(last ? new LogRecord(last.bytes).timeMs : 0);
    });
  });
}

/** As the machine wants it: the base by itself, then the runs of the records that are there. */
function recoveredOf(log: Log): RecoveredLog {
  const { firstIndex, lastIndex } = log;
  const base = { epoch: log.epochAt(firstIndex - 1) ?? 0, index: firstIndex - 1 };
  const epochs: EpochRun[] = [];
  for (const [i, { first, epoch }] of log.epochRuns.entries()) {
    const end = log.epochRuns[i + 1]?.first ?? lastIndex + 1;
    // Damaged records, whose epoch is not known, have been cut off.
    if (epoch !== null && end > firstIndex) epochs.push({ epoch, first: Math.max(first, firstIndex) });
  }
  return { base, epochs: lastIndex >= firstIndex ? epochs : [], lastIndex };
}
