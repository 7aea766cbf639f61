/**
 * What a replica has on its disk, opened in the order that keeps its promises:
 *
 *     log/metadata    who it is and what it has promised; says "open, in this boot" before anything else happens
 *     log/…           segments of the log (core/log)
 *     state.db        what the log has brought about; thrown away where it may be wrong, and made anew from the log
 *
 * Of a machine that lost its power without an orderly end, the database is worth nothing (it is never synced), and
 * where records were acknowledged before they were synced, the replica is an amnesiac (DESIGN.md section 5, rule 4).
 */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DvsError } from "../errors.ts";
import { makePrivateDir } from "../files.ts";
import type { Log, LogListener } from "../log/log.ts";
import { type Metadata, MetadataFile, readMetadata, writeMetadata } from "../log/metadata.ts";
import { nodeFiles } from "../log/node-files.ts";
import { openLog } from "../log/open-log.ts";
import { promised } from "../log/steps.ts";
import { loopTiming } from "../log/timing.ts";
import { bootId } from "../platform/uptime.ts";
import type { EpochRun } from "../replica/epoch-table.ts";
import type { RecoveredLog } from "../replica/replica-log.ts";
import type { ReplicaMeta } from "../replica/sink.ts";
import { StateDatabase } from "./database.ts";
import type { StateModule } from "./module.ts";

export interface ReplicaDisk {
  metadata: MetadataFile;
  log: Log;
  database: StateDatabase;
  /** What a ReplicaMachine begins with. */
  recovered: RecoveredLog;
  meta: ReplicaMeta;
}

export interface ReplicaDiskOptions {
  dir: string;
  modules: readonly StateModule[];
  listener: LogListener;
  /** Nothing can be applied any more. */
  databaseFailed: (error: Error) => void;
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
  const databasePath = join(dir, "state.db");
  if (found === null || lostPower) await removeDatabase(databasePath);
  if (lostPower) say("warn", "the machine ended without notice: the database is made anew from the log", {});
  // From here on an end without a word is one.
  await promised(writeMetadata(files, metadata));

  const opened = await new Promise<{ log: Log; torn: number }>((resolve, reject) => {
    const durable = found?.clean?.durable ?? 0;
    const { listener } = options;
    openLog(
      files,
      { disk: metadata.disk, snapshot: null, durable, timing: loopTiming, listener },
      (e, result) => (e ? reject(e) : resolve(result!)),
    );
  });
  const { log, torn } = opened;
  if (torn > 0) say("info", "the end of the log was never synced, and is cut off", { bytes: torn });
  if (log.damage.length > 0) say("error", "records of the log are damaged", { ranges: log.damage });
  const database = await openDatabase(options, databasePath, log);
  if (database.appliedIndex < log.firstIndex - 1) {
    database.close();
    throw new DvsError(
      "FAILED",
      `Cannot go on with the replica in ${dir}: its log begins with record ${log.firstIndex}, and nothing has those before. Remove it; another one takes its place.`,
    );
  }
  const { epochSeen, generationSeen, mode, amnesiac } = metadata;
  return {
    metadata: new MetadataFile(files, metadata),
    log,
    database,
    recovered: recoveredOf(log),
    meta: { epochSeen, generationSeen, mode, amnesiac },
  };
}

async function openDatabase(options: ReplicaDiskOptions, path: string, log: Log): Promise<StateDatabase> {
  const { modules, databaseFailed, log: say } = options;
  const open = () =>
    new StateDatabase({
      path,
      modules,
      after: (ms, run) => void setTimeout(run, ms),
      failed: databaseFailed,
    });
  let database: StateDatabase;
  try {
    database = open();
    const { appliedIndex, appliedEpoch } = database;
    const epoch = appliedIndex === 0 ? 0 : log.epochAt(appliedIndex);
    if (appliedIndex <= log.lastIndex && (epoch === null || epoch === appliedEpoch)) return database;
    say("warn", "the database is not of this log, and is made anew from it", { appliedIndex });
    database.close();
  } catch (e) {
    if (!(e instanceof DvsError) || e.code !== "FAILED") throw e;
    say("error", "the database is damaged, and is made anew from the log", { error: e.message });
  }
  await removeDatabase(path);
  return open();
}

function newMetadata(): Metadata {
  const disk = randomBytes(16).toString("hex");
  const none = { epochSeen: 0, generationSeen: 0, amnesiac: false, bootId: "", clean: null };
  return { disk, mode: "fsync", ...none };
}

/** Runs of equal epochs; damaged records have the one before them, and are repaired before they are read. */
function recoveredOf(log: Log): RecoveredLog {
  const { firstIndex, lastIndex } = log;
  const epochs: EpochRun[] = [];
  let epoch = log.epochAt(firstIndex - 1) ?? 0;
  const base = { epoch, index: firstIndex - 1 };
  for (let index = firstIndex; index <= lastIndex;) {
    const found = log.epochAt(index) ?? epoch;
    if (found !== epoch) {
      epoch = found;
      epochs.push({ epoch, first: index });
    }
    index = lastOfRun(log, index, lastIndex) + 1;
  }
  return { base, epochs, lastIndex };
}

/** The last record, up to `last`, that has the epoch of this one: epochs never fall. */
function lastOfRun(log: Log, index: number, last: number): number {
  const epoch = log.epochAt(index);
  let low = index;
  let high = last;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (log.epochAt(middle) === epoch) low = middle;
    else high = middle - 1;
  }
  return low;
}

async function removeDatabase(path: string): Promise<void> {
  for (const suffix of ["", "-wal", "-shm"]) await rm(path + suffix, { force: true });
}
