/**
 * The state that the log has brought about: a SQLite database of metadata, which is worth nothing without the log.
 *
 * Records are applied inside an open transaction, together with their sessions and the applied index, and answered from
 * there; a COMMIT follows after at most `commitMs` or `commitRecords`. Nothing is synced (synchronous=OFF): what the
 * host process had committed survives its death, and after an unclean end of the operating system the file is thrown
 * away and made anew from a snapshot and the log. A COMMIT waits until the blocks that its operations have put into
 * segments (core/blocks) are in their files: so the file never names bytes that are not there. Checkpoints of its write-ahead log and snapshots are the work of a
 * helper host process (helper.ts), since both take longer than the event loop may stand still.
 */
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { BlockStore } from "../blocks/block-store.ts";
import { DvsError } from "../errors.ts";
import { eraOf, revisionOf } from "../replica/era.ts";
import { type LogRecord, recordKinds } from "../replica/record.ts";
import type { AppliedState, SessionChange } from "../replica/sink.ts";
import { isDeterministic, isFull, isSqliteError } from "../store/sqlite/sqlite-errors.ts";
import { DatabaseBlocks } from "./database-blocks.ts";
import { stateDigest } from "./digest.ts";
import {
  commitBytes,
  commitMs,
  commitRecords,
  fullRetryMs,
  heldBytesMax,
  redoMax,
  sweepMs,
  walBytesMax,
} from "./limits.ts";
import {
  type ModuleBlocks,
  ModuleRefusal,
  type OpenModule,
  type StateModule,
  type StateStatement,
} from "./module.ts";
import { encodeRefusal, encodeResult } from "./result.ts";
import { prepareSchema } from "./schema.ts";
import { readSessions, SessionTables } from "./sessions.ts";
import { sweepTrash } from "./trash.ts";

const statements = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  savepoint: "SAVEPOINT operation",
  release: "RELEASE operation",
  rollback: "ROLLBACK TO operation",
  applied: "UPDATE applied SET record = ?, epoch = ?, time = ?",
  level: "INSERT INTO module VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET level = excluded.level",
} as const;

export interface StateDatabaseOptions {
  path: string;
  modules: readonly StateModule[];
  /** Beside the database: modules put there what is too much for tables. Missing: they have none. */
  blocks?: BlockStore;
  /** Fetches from another replica what the disk has damaged. Missing: nobody does. */
  repairBlocks?: ModuleBlocks["repair"];
  /** Reads files of images. Missing: there are none here. */
  readBlob?: ModuleBlocks["readBlob"];
  /** How much the disks have free. Missing: nobody knows. */
  bytesFree?: ModuleBlocks["bytesFree"];
  /** Once, so much later. */
  after(ms: number, run: () => void): void;
  /** All up to this record is in the file: other host processes that read it see it. */
  committed?(index: number): void;
  /** The disk is full: what is applied waits in memory until there is room; no more should come. Or there is room again. */
  full?(full: boolean): void;
  /** A module threw what is no refusal; its operation counts as refused. */
  defect?(module: string, error: unknown): void;
  /** The disk refused: nothing can be applied or read any more, what was applied last may be gone. The host process has to end. */
  failed(error: Error): void;
}

export class StateDatabase {
  readonly #options: StateDatabaseOptions;
  readonly #db: DatabaseSync;
  readonly #sql: Record<keyof typeof statements, StateStatement>;
  readonly #sessions: SessionTables;
  readonly #modules = new Map<string, OpenModule>();
  readonly #blocks: DatabaseBlocks | null;
  /** Those that keep something in memory until then. */
  readonly #settling: readonly OpenModule[];
  readonly #levels = new Map<string, number>();
  #appliedIndex: number;
  #appliedEpoch: number;
  /** The latest of all records applied. */
  #appliedTimeMs: number;
  /** Records applied in the open transaction; −1: none is open. */
  #open = -1;
  #openBytes = 0;
  /** What was done in the open transaction, to be done again. */
  #redo: (() => void)[] = [];
  #timer = false;
  #sweeping = false;
  /** A COMMIT waits for blocks. */
  #waiting = false;
  /** Records that somebody waits for until they are in the file, ascending. */
  #awaited: { index: number; done: (isSettled: boolean) => void }[] = [];
  /** The last COMMIT found no room on the disk. */
  #full = false;
  #failed = false;
  #closed = false;

  /** Throws INVALID for a file of something else, FAILED for a damaged one. */
  constructor(options: StateDatabaseOptions) {
    this.#options = options;
    this.#db = openFile(options.path, options.modules);
    const prepared = Object.entries(statements).map(([name, sql]) => [name, this.#db.prepare(sql)] as const);
    this.#sql = Object.fromEntries(prepared) as Record<keyof typeof statements, StateStatement>;
    this.#sessions = new SessionTables(this.#db);
    const { blocks, repairBlocks: repair, readBlob, bytesFree } = options;
    this.#blocks = blocks ? new DatabaseBlocks(this.#db, blocks, { repair, readBlob, bytesFree }) : null;
    for (const module of options.modules)
      this.#modules.set(module.name, module.open(this.#db, this.#blocks ?? undefined));
    this.#settling = [...this.#modules.values()].filter((module) => "settle" in module);
    const row = this.#db.prepare("SELECT * FROM applied").get() as {
      record: number;
      epoch: number;
      time: number;
    };
    this.#appliedIndex = row.record;
    this.#appliedEpoch = row.epoch;
    this.#appliedTimeMs = row.time;
    const levels = this.#db.prepare("SELECT name, level FROM module").all() as {
      name: string;
      level: number;
    }[];
    for (const { name, level } of levels) this.#levels.set(name, level);
    if (options.modules.some(({ name }) => this.#modules.get(name)!.changesOthers)) this.#sweepLater();
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  get appliedEpoch(): number {
    return this.#appliedEpoch;
  }

  /** So much waits for blocks that nothing more should be applied before the next COMMIT. */
  get isBehind(): boolean {
    return this.#waiting && this.#openBytes >= heldBytesMax;
  }

  /** Segments of blocks that it needs, as of now, and how many bytes of each. */
  get segments(): ReadonlyMap<number, number> {
    return this.#blocks?.lengths ?? noSegments;
  }

  /** What the replica machine begins with. Reads all sessions. */
  state(): AppliedState {
    if (this.#open >= 0) this.#guarded(() => this.#sessions.save());
    const inForce = [...this.#levels].filter(([, level]) => level > 0);
    return {
      index: this.#appliedIndex,
      sessions: readSessions(this.#db),
      levels: new Map(inForce),
      timeMs: this.#appliedTimeMs,
    };
  }

  /** Throws INVALID for a module that this dvs does not have. */
  module(name: string): OpenModule {
    const module = this.#modules.get(name);
    if (module) return module;
    throw new DvsError(
      "INVALID",
      `Cannot ask for the state of module "${name}": this node has ${[...this.#modules.keys()].join(", ")}.`,
    );
  }

  /** Carries out an operation. Its result, or its refusal, as `decodeResult` reads it. */
  execute(record: LogRecord): Uint8Array {
    this.#begin();
    this.#redo.push(() => void this.#execute(record));
    return this.#execute(record);
  }

  #execute(record: LogRecord): Uint8Array {
    const module = this.#modules.get(record.module);
    // The same on each replica: a level record comes before the first operation, and needs the module.
    const level = this.#levels.get(record.module) ?? 0;
    if (!module || level === 0) return encodeRefusal(`there is no module "${record.module}" in force`);
    if (this.#failed) return encodeRefusal("the database has failed");
    const { index, timeMs, random, client, operation } = record;
    const context = { index: revisionOf(record), timeMs, random, client, level };
    let inSavepoint = false;
    try {
      const quick = module.applyQuickly?.(operation, context) ?? null;
      if (quick !== null) return encodeResult(quick);
      this.#guarded(() => this.#settle());
      if (this.#failed) return encodeRefusal("the database has failed");
      this.#sql.savepoint.run();
      inSavepoint = true;
      const result = encodeResult(module.apply(operation, context));
      this.#sql.release.run();
      if (module.changesOthers) this.#sweepLater();
      this.#blocks?.carriedOut(index);
      return result;
    } catch (e) {
      this.#blocks?.refused();
      if (isEnvironmental(e)) {
        this.#fail(e as Error);
        return encodeRefusal("the database has failed");
      }
      if (inSavepoint) {
        this.#guarded(() => {
          this.#sql.rollback.run();
          this.#sql.release.run();
        });
      }
      if (e instanceof ModuleRefusal) return encodeRefusal(e.message);
      // Words of the runtime are not the same on each replica, and results are part of the state.
      this.#options.defect?.(record.module, e);
      return encodeRefusal(`module "${record.module}" has a defect, and has carried nothing out`);
    } finally {
      if (module.changesOthers) for (const other of this.#modules.values()) other.tablesChanged?.();
    }
  }

  /** What modules keep in memory goes into their tables. */
  #settle(): void {
    for (const module of this.#settling) module.settle!();
  }

  /** It is part of what the next COMMIT writes. */
  sessionChanged(change: SessionChange): void {
    this.#begin();
    this.#sessions.change(change);
  }

  levelRaised(module: string, level: number): void {
    this.#begin();
    const raise = (): void => {
      this.#levels.set(module, level);
      this.#guarded(() => this.#sql.level.run(module, level));
    };
    this.#redo.push(raise);
    raise();
  }

  /** All of this record is done; the next one follows. */
  applied(record: LogRecord): void {
    if (this.#failed) return;
    if (record.index !== this.#appliedIndex + 1) {
      throw new Error(`record ${record.index} cannot be applied after record ${this.#appliedIndex}`);
    }
    this.#begin();
    if (record.kind === recordKinds.epochStart || record.kind === recordKinds.clientRemoved) {
      const tell = (): void => this.#tellModules(record);
      this.#redo.push(tell);
      tell();
    }
    if (this.#failed) return;
    this.#appliedIndex = record.index;
    this.#appliedEpoch = record.epoch;
    this.#appliedTimeMs = Math.max(this.#appliedTimeMs, record.timeMs);
    this.#openBytes += record.bytes.length;
    const enough = ++this.#open >= commitRecords || this.#openBytes >= commitBytes;
    if (enough && !this.#full) return this.commit();
    if (this.#timer) return;
    this.#commitLater(commitMs);
  }

  /** What concerns them beside their own operations. */
  #tellModules(record: LogRecord): void {
    const { kind, timeMs, client } = record;
    const index = revisionOf(record);
    const [epoch, last] = [this.#appliedEpoch, record.index - 1];
    const isLoss = last > 0 && eraOf(record.epoch) > eraOf(epoch);
    const lostAfter = isLoss ? revisionOf({ epoch, index: last }) : null;
    this.#guarded(() => {
      this.#settle();
      for (const [name, module] of this.#modules) {
        if (kind === recordKinds.epochStart) module.epochStarted?.({ index, timeMs, lostAfter });
        else if ((this.#levels.get(name) ?? 0) > 0) module.clientRemoved?.(client, { index, timeMs });
      }
    });
  }

  #commitLater(ms: number): void {
    this.#timer = true;
    this.#options.after(ms, () => {
      this.#timer = false;
      this.commit();
    });
  }

  /** Ends the open transaction, if there is one: now, or when the blocks of its operations are in their files. */
  commit(): void {
    if (this.#open <= 0 || this.#failed || this.#closed) return;
    if (this.#blocks && !this.#blocks.store.isWritten) return this.#commitWhenWritten(this.#blocks.store);
    try {
      this.#settle();
      this.#sessions.save();
      this.#blocks?.save();
      this.#sql.applied.run(this.#appliedIndex, this.#appliedEpoch, this.#appliedTimeMs);
      this.#sql.commit.run();
    } catch (e) {
      if (isFull(e)) return this.#repeat(e as Error);
      return this.#fail(e as Error);
    }
    this.#sessions.saved();
    this.#open = -1;
    this.#openBytes = 0;
    this.#redo = [];
    this.#blocks?.committed();
    if (this.#full) this.#options.full?.((this.#full = false));
    this.#options.committed?.(this.#appliedIndex);
    while ((this.#awaited[0]?.index ?? Infinity) <= this.#appliedIndex) this.#awaited.shift()!.done(true);
  }

  #commitWhenWritten(store: BlockStore): void {
    if (this.#waiting) return;
    this.#waiting = true;
    store.whenWritten(() => {
      this.#waiting = false;
      // More may have come meanwhile.
      this.commit();
    });
  }

  /** Resolves when all that is applied now is in the file: false when nobody knows when that will be, as on a full disk. */
  settled(): Promise<boolean> {
    this.commit();
    if (this.#open <= 0) return Promise.resolve(!this.#failed);
    if (this.#full || this.#failed || this.#closed || this.#blocks?.store.isFull)
      return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#awaited.push({ index: this.#appliedIndex, done: resolve });
    return promise;
  }

  /** The disk is full, or this is the end. */
  giveUpSettling(): void {
    for (const { done } of this.#awaited.splice(0)) done(false);
  }

  /**
   * The disk is full, and SQLite has rolled back. What was in the transaction is carried out once more, in memory, so
   * that reads go on; the COMMIT is tried again until there is room.
   */
  #repeat(cause: Error): void {
    if (!this.#full) this.#options.full?.((this.#full = true));
    this.giveUpSettling();
    const open = this.#open;
    this.#guarded(() => {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      this.#sql.begin.run();
    });
    for (const act of this.#redo) act();
    this.#open = open;
    if (this.#failed || this.#closed) return;
    if (this.#redo.length > redoMax) return this.#fail(cause);
    if (!this.#timer) this.#commitLater(fullRetryMs);
  }

  /** Removes some of what a restore has put aside, in a transaction of its own, until there is nothing left. */
  #sweepLater(ms = sweepMs): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#options.after(ms, () => {
      this.#sweeping = false;
      this.#sweep();
    });
  }

  #sweep(): void {
    this.commit();
    if (this.#failed || this.#closed) return;
    // A full disk has the transaction open.
    if (this.#open >= 0) return this.#sweepLater(fullRetryMs);
    try {
      this.#sql.begin.run();
      const more = sweepTrash(this.#db);
      this.#sql.commit.run();
      if (more) this.#sweepLater();
    } catch (e) {
      if (!isFull(e)) return this.#fail(e as Error);
      this.#guarded(() => {
        if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      });
      this.#sweepLater(fullRetryMs);
    }
  }

  /**
   * Moves what the helper has left of the write-ahead log into the database, so that the log begins anew: little,
   * right after the helper's checkpoint. Returns the frames that are left: more than 0 when somebody reads old ones.
   */
  checkpoint(): number {
    this.commit();
    if (this.#failed || this.#open >= 0) return 0;
    const row = this.#db.prepare("PRAGMA wal_checkpoint(PASSIVE)").get() as {
      log: number;
      checkpointed: number;
    };
    return row.log - row.checkpointed;
  }

  /** Of what is applied: core/state/digest.ts. Reads everything; for tests and short states. */
  digest(): string {
    if (this.#open >= 0) {
      this.#guarded(() => {
        this.#settle();
        this.#sessions.save();
        this.#blocks?.save();
      });
    }
    return stateDigest(this.#db, this.#options.modules);
  }

  /** For tests: what a full disk does. The file may have so many pages more. */
  limitPages(more: number): void {
    const { page_count: pages } = this.#db.prepare("PRAGMA page_count").get() as { page_count: number };
    this.#db.exec(`PRAGMA max_page_count = ${pages + more}`);
  }

  /** For tests: the end of the host process. What no COMMIT has is gone. */
  abandon(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
    this.#db.close();
  }

  /** As `close`, and on the disk, after all that is applied has got there: after this an end counts as clean. */
  async closeSynced(): Promise<void> {
    await this.settled();
    this.close();
    for (const path of [this.#options.path, dirname(this.#options.path)]) {
      const file = await open(path, "r");
      try {
        await file.sync();
      } finally {
        await file.close();
      }
    }
  }

  /** Everything is in the one file then, but not on the disk; what waits for its blocks is only in the log. */
  close(): void {
    if (this.#closed) return;
    this.commit();
    this.#closed = true;
    this.giveUpSettling();
    try {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      if (!this.#failed) this.#db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
    } finally {
      this.#db.close();
    }
  }

  #begin(): void {
    if (this.#open >= 0 || this.#failed) return;
    this.#guarded(() => {
      this.#sql.begin.run();
      this.#open = 0;
    });
  }

  #guarded(act: () => void): void {
    if (this.#failed) return;
    try {
      act();
    } catch (e) {
      this.#fail(e as Error);
    }
  }

  /** What the open transaction had may be gone: nothing follows it. */
  #fail(error: Error): void {
    if (this.#failed) return;
    this.#failed = true;
    this.giveUpSettling();
    this.#options.failed(error);
  }
}

const noSegments: ReadonlyMap<number, number> = new Map();

/** Of the disk or the memory of this machine, and not of the operation. */
function isEnvironmental(e: unknown): boolean {
  return isSqliteError(e) && !isDeterministic(e);
}

function openFile(path: string, modules: readonly StateModule[]): DatabaseSync {
  const db = new DatabaseSync(path);
  try {
    db.exec(
      "PRAGMA page_size = 4096; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY; PRAGMA busy_timeout = 2000",
    );
    db.prepare("PRAGMA journal_mode = WAL").get();
    // Pages are written by COMMIT only: until then a full disk is nobody's concern.
    db.exec("PRAGMA cache_spill = OFF");
    db.prepare("PRAGMA wal_autocheckpoint = 0").get();
    // When it begins anew its file gets shorter: the keeper goes by its size.
    db.prepare(`PRAGMA journal_size_limit = ${walBytesMax >> 2}`).get();
    prepareSchema(db, path, modules);
    return db;
  } catch (e) {
    db.close();
    if (e instanceof DvsError) throw e;
    throw new DvsError("FAILED", `Cannot open the state ${path}: ${messageOf(e)}.`, { cause: e });
  }
}

function messageOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
