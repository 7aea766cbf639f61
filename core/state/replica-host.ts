/**
 * A replica machine on its disk, its links and its modules: the sink of a state process. What the machine decides, it
 * decides in core/replica; here events get the time, and effects happen.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { crc32 } from "../checksum.ts";
import { DvsError } from "../errors.ts";
import { stateTickMs } from "../limits.ts";
import type { LogListener } from "../log/log.ts";
import type { LogFiles } from "../log/log-files.ts";
import type { Metadata } from "../log/metadata.ts";
import { nodeFiles } from "../log/node-files.ts";
import { type ScrubOptions, scrubOnce, startScrub } from "../log/scrub.ts";
import { promised } from "../log/steps.ts";
import { loopTiming } from "../log/timing.ts";
import type { Change, DiskId, ReplicaPolicy } from "../replica/configuration.ts";
import type { ReplicaMessage } from "../replica/messages.ts";
import { joinRecords, LogRecord } from "../replica/record.ts";
import { ReplicaMachine } from "../replica/replica-machine.ts";
import type {
  ReadOutcome,
  ReplicaMeta,
  ReplicaSink,
  Role,
  SessionChange,
  WriteOutcome,
} from "../replica/sink.ts";
import type { ReplicaTimings } from "../replica/timings.ts";
import { BootClock } from "./boot-clock.ts";
import { bucketsOf } from "./buckets.ts";
import { Guard } from "./guard.ts";
import { Keeper } from "./keeper.ts";
import { LogDamage } from "./log-damage.ts";
import type { ModuleBlocks, OpenModule, StateModule } from "./module.ts";
import { RandomPool } from "./random-pool.ts";
import {
  installSnapshot,
  openReplicaDisk,
  type ReplicaDisk,
  type ReplicaDiskOptions,
} from "./replica-disk.ts";
import type { Fields } from "./link/frames.ts";
import { ReplicaBlocks } from "./replica-blocks.ts";
import type { TransferOptions } from "./snapshot-transfer.ts";
import { SlewedClock } from "./slewed-clock.ts";
import { databaseName } from "./schema.ts";
import type { SnapshotInfo } from "./snapshots.ts";
import { TouchedBuckets } from "./touched-buckets.ts";

export interface ReplicaHostOptions {
  dir: string;
  /** Where containers of this node find the guard file by which they read the database; null: none does. */
  runDir: string | null;
  incarnation: string;
  policy: ReplicaPolicy;
  timings?: ReplicaTimings;
  modules: readonly StateModule[];
  /** For tests: where segments of blocks are kept, in place of files of `dir`. */
  blockFiles?: LogFiles;
  /** Reads files of images, which modules name by their digests. Missing: there are none here. */
  readBlob?: ModuleBlocks["readBlob"];
  send: (disk: DiskId, message: ReplicaMessage) => void;
  sendSnapshot: (disk: DiskId, fromIndex: number) => void;
  /** To another replica (block-exchange.ts). Missing: nobody is asked for blocks. */
  sendBlocks?: (disk: DiskId, fields: Fields) => void;
  /** Replicas that can be asked for blocks now. */
  linked?: () => readonly DiskId[];
  /** On the disk of the replica that has least. Missing: on this one's. */
  bytesFree?: () => number;
  propose: (change: Change) => void;
  askConfiguration: () => void;
  roleChanged: (role: Role) => void;
  /** Records were applied: whoever follows something looks. Once a turn. */
  applied: () => void;
  /** It can never go on in this host process. */
  failed: (reason: string) => void;
  log: (level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>) => void;
}

/** A write's or a read's end. */
type WriteDone = (outcome: WriteOutcome) => void;
type ReadDone = (outcome: ReadOutcome) => void;

const nothing = new Uint8Array(0);

export class ReplicaHost implements ReplicaSink {
  readonly disk: DiskId;
  readonly machine: ReplicaMachine;
  readonly #options: ReplicaHostOptions;
  readonly #disk: ReplicaDisk;
  readonly #diskOptions: ReplicaDiskOptions;
  /** Snapshots that it may send are there, and stay while they are held. */
  readonly keeper: Keeper;
  readonly blocks: ReplicaBlocks;
  /** Null where nobody reads beside this process. */
  readonly guard: Guard | null;
  readonly #clock: BootClock;
  readonly #timeOfDay: SlewedClock;
  readonly #writes = new Map<number, WriteDone>();
  readonly #reads = new Map<number, ReadDone>();
  readonly #touched: TouchedBuckets;
  readonly #damage: LogDamage;
  readonly #pool = new RandomPool();
  #ticket = 0;
  #telling = false;
  #timer: ReturnType<typeof setInterval>;
  #ended = false;
  #databaseFull = false;
  #blocksFull = false;
  /** Applying waits for blocks to get to their files. */
  #held = false;
  readonly #scrubbed: ScrubOptions;
  readonly #stopScrub: () => void;
  /** The machine stands still meanwhile: its log and its state are being replaced. */
  #installing = false;

  /** Rejects with a DvsError where the disk cannot be used. */
  static async open(options: ReplicaHostOptions): Promise<ReplicaHost> {
    let host: ReplicaHost | null = null;
    const listener: LogListener = {
      written: (index) => host?.machine.written(host.now(), index),
      durable: (index) => host?.machine.durable(host.now(), index),
      full: (full) => {
        options.log(full ? "error" : "info", full ? "the disk is full" : "there is room on the disk again");
        host?.spaceChanged();
      },
      failed: (error) => options.failed(`the disk refuses the log: ${error.message}`),
      damaged: (range) => {
        options.log("error", "records of the log are damaged", { ...range });
        if (host) host.#damage.changed();
      },
    };
    const diskOptions: ReplicaDiskOptions = {
      dir: options.dir,
      modules: options.modules,
      ...(options.blockFiles && { blockFiles: options.blockFiles }),
      ...(options.readBlob && { readBlob: options.readBlob }),
      bytesFree: () => options.bytesFree?.() ?? host?.keeper.bytesFree ?? Infinity,
      repairBlocks: (segment, position, length, isGood) =>
        host ? host.blocks.repair(segment, position, length, isGood) : Promise.reject(new Error("too early")),
      listener,
      databaseFailed: (error) => options.failed(`the database cannot be written: ${error.message}`),
      databaseFull: (full) => {
        if (!host) return;
        host.#databaseFull = full;
        host.spaceChanged();
      },
      blocksFull: (full) => {
        if (!host) return;
        host.#blocksFull = full;
        if (full) host.#disk.database.giveUpSettling();
        host.spaceChanged();
      },
      databaseCommitted: (index) => {
        if (host) host.#committed(index);
      },
      log: options.log,
    };
    const disk = await openReplicaDisk(diskOptions);
    host = new ReplicaHost(options, disk, diskOptions);
    return host;
  }

  private constructor(options: ReplicaHostOptions, disk: ReplicaDisk, diskOptions: ReplicaDiskOptions) {
    this.#options = options;
    this.#disk = disk;
    this.#diskOptions = diskOptions;
    this.keeper = new Keeper(
      {
        dataDir: options.dir,
        log: disk.log,
        blocks: disk.blocks,
        database: () => disk.database,
        snapshotTaken: ({ index }) => {
          this.machine.snapshotTaken(this.now(), index);
          this.#damage.changed();
        },
        spaceChanged: (low) => {
          options.log(
            low ? "error" : "info",
            low ? "the disk is almost full" : "there is room on the disk again",
          );
          this.spaceChanged();
        },
        say: options.log,
      },
      disk.snapshot,
    );
    this.guard = options.runDir === null ? null : new Guard(options.runDir, join(options.dir, databaseName));
    // What is in the log and not in the database may be of anything.
    if (disk.log.lastIndex > disk.database.appliedIndex) {
      this.guard?.prepared(disk.log.lastIndex, null);
      this.guard?.flush();
    }
    this.#clock = new BootClock();
    this.#timeOfDay = new SlewedClock(() => this.#clock.nowMs());
    this.disk = disk.metadata.current.disk;
    this.#touched = new TouchedBuckets({
      module: (name) => this.module(name),
      hasClients: options.modules.some(({ name }) => "clientRemoved" in this.module(name)),
      isAskedTwice: this.guard !== null,
    });
    this.#damage = new LogDamage({
      log: disk.log,
      appliedIndex: () => disk.database.appliedIndex,
      isEnded: () => this.#ended,
      tell: (damage) => {
        if (!this.#ended && !this.#installing) this.machine.damaged(this.now(), damage);
      },
      snapshotNow: () => this.snapshotNow(),
      failed: (reason) => this.failed(reason),
      say: options.log,
    });
    this.#scrubbed = { files: nodeFiles(join(options.dir, "log")), disk: this.disk, timing: loopTiming };
    this.#stopScrub = startScrub(disk.log, this.#scrubbed);
    this.blocks = new ReplicaBlocks({
      store: disk.blocks,
      isNeeded: (segment) => disk.database.segments.has(segment),
      modules: () => options.modules.map(({ name }) => this.module(name)),
      others: () => options.linked?.() ?? [],
      send: (to, fields) => options.sendBlocks?.(to, fields),
      say: options.log,
    });
    const { incarnation, policy, timings, modules } = options;
    this.machine = new ReplicaMachine({
      self: { disk: this.disk, incarnation },
      policy,
      sink: this,
      nowMs: this.now(),
      ...(timings && { timings }),
      levels: modules.map(({ name, level }) => [name, level] as const),
      log: disk.recovered,
      meta: disk.meta,
      state: disk.database.state(),
      crc32,
    });
    this.#timer = setInterval(() => {
      if (!this.#installing) this.machine.tick(this.now());
    }, stateTickMs);
  }

  now(): number {
    return this.#clock.nowMs();
  }

  start(): void {
    this.machine.start(this.now());
    this.#damage.changed();
  }

  /** What another replica says. Dropped while a snapshot is being installed: everything is sent again. */
  receive(from: DiskId, message: ReplicaMessage): void {
    if (!this.#installing) this.machine.receive(this.now(), from, message);
  }

  /** `ReplicaMachine.mayTake`. */
  mayTake(from: DiskId, info: SnapshotInfo): boolean {
    return !this.#ended && this.machine.mayTake(from, info);
  }

  /** A snapshot from another replica, which lies among those of this one, takes the place of all that is here. */
  async installSnapshot(info: SnapshotInfo): Promise<void> {
    if (this.#installing || this.#ended) return;
    const { following } = this.machine;
    const isOld = info.index <= this.#disk.database.appliedIndex;
    if (isOld && !following.isDiverged && !following.isContradictedBy(info)) return;
    this.#installing = true;
    this.guard?.setDeadline(-Infinity);
    this.guard?.reopened();
    try {
      await this.keeper.alone(() => installSnapshot(this.#disk, this.#diskOptions, info));
      this.keeper.installed(info);
      this.guard?.committed(info.index);
    } catch (e) {
      // The log or the database may be neither the old nor the new: the next start puts that right.
      return this.failed(`a snapshot could not be installed: ${e instanceof Error ? e.message : String(e)}`);
    }
    this.#installing = false;
    this.#held = false;
    this.machine.snapshotInstalled(this.now(), info.epoch, this.#disk.database.state());
    // It may have asked for it meanwhile, and asks once.
    this.machine.flush(this.now());
  }

  /** A snapshot of all that is applied now, or of a moment later. Rejects with FAILED. */
  async snapshotNow(): Promise<SnapshotInfo> {
    if (!(await this.#disk.database.settled()))
      throw new DvsError("EXHAUSTED", "Cannot make a snapshot: the disk is full.");
    return this.keeper.makeSnapshot();
  }

  /** What a snapshot's transfer needs of this replica's blocks. */
  get transferredBlocks(): NonNullable<TransferOptions["blocks"]> {
    return {
      ...{ store: this.blocks.store, exchange: this.blocks.exchange },
      // What was given up by a person may be others' places.
      known: () => (this.machine.status.diverged ? new Map() : this.#disk.database.segments),
    };
  }

  /** One round over the whole log, at once. */
  scrub(): Promise<void> {
    return promised(scrubOnce(this.#disk.log, this.#scrubbed));
  }

  /** The log, or the keeper, has met the end of the room on the disk, or found room again. */
  spaceChanged(): void {
    const full = this.#disk.log.full || this.#databaseFull || this.#blocksFull || this.keeper.spaceLow;
    this.machine.diskFull(this.now(), full);
  }

  /** Throws INVALID where there is no such module. */
  module(name: string): OpenModule {
    return this.#disk.database.module(name);
  }

  /** Throws INVALID or TOO_LARGE for what no record can carry. */
  write(
    request: { client: string; sequence: number; ackedBelow: number; module: string; operation: Uint8Array },
    done: WriteDone,
  ): void {
    const ticket = ++this.#ticket;
    this.#writes.set(ticket, done);
    try {
      this.machine.write(this.now(), { ticket, ...request });
    } catch (e) {
      this.#writes.delete(ticket);
      throw e;
    }
  }

  removeClient(client: string, done: WriteDone): void {
    const ticket = ++this.#ticket;
    this.#writes.set(ticket, done);
    this.machine.removeClient(this.now(), ticket, client);
  }

  /** Ends when all that was acknowledged before is on the disks of all replicas in sync. */
  sync(done: WriteDone): void {
    const ticket = ++this.#ticket;
    this.#writes.set(ticket, done);
    this.machine.sync(this.now(), ticket);
  }

  /** `done` is to evaluate the query before it returns: then and only then the answer is linearizable. */
  read(keys: readonly string[] | null, done: ReadDone): void {
    const ticket = ++this.#ticket;
    this.#reads.set(ticket, done);
    this.machine.read(this.now(), ticket, keys && bucketsOf(keys));
  }

  /** Clients are sent elsewhere from now on. Resolves when nobody waits for an answer here any more, or after so long. */
  async retire(graceMs: number): Promise<void> {
    this.machine.retire(this.now());
    const endMs = this.now() + graceMs;
    while (!this.machine.isIdle && this.now() < endMs) await sleep(stateTickMs);
  }

  /** In order: what was written is on the disk, and the next start knows that nothing is missing. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    this.guard?.close();
    this.#stopScrub();
    this.blocks.close();
    await this.keeper.close();
    const { log, database, blocks, metadata } = this.#disk;
    await new Promise<void>((resolve, reject) => log.close((e) => (e ? reject(e) : resolve())));
    await database.closeSynced();
    await new Promise<void>((resolve, reject) => blocks.sync((e) => (e ? reject(e) : resolve())));
    blocks.close();
    // An end without this is an unclean one; nothing is waited for.
    metadata.retry = null;
    const clean: Metadata["clean"] = { durable: log.durable };
    await new Promise<void>((resolve, reject) =>
      metadata.save({ clean }, (e) => (e ? reject(e) : resolve())),
    );
  }

  // The log

  append(records: readonly LogRecord[]): void {
    if (this.guard) {
      for (const record of records) this.guard.prepared(record.index, this.touched(record));
      this.guard.flush();
    }
    this.#disk.log.append(records as LogRecord[]);
  }
  truncateAfter(index: number): void {
    this.#disk.log.truncateAfter(index);
    this.guard?.truncatedAfter(index);
  }
  wantDurable(): void {
    this.#disk.log.wantDurable();
  }
  discardTo(index: number): void {
    this.#disk.log.discardUpTo(index);
  }
  fetch(reader: string, fromIndex: number, bytesMax: number): void {
    this.#disk.log.read(fromIndex, bytesMax, (error, records) => {
      if (error) this.#options.log("error", "the log cannot be read", { fromIndex, error: error.message });
      const found = (records ?? []).map(({ bytes }) => new LogRecord(bytes));
      if (!this.#installing) this.machine.fetched(this.now(), reader, error ? nothing : joinRecords(found));
    });
  }
  repair(records: readonly LogRecord[]): void {
    this.#damage.repair(records);
  }
  saveMeta(meta: ReplicaMeta, ticket: number): void {
    this.#disk.log.eager = meta.mode === "fsync";
    this.#disk.metadata.save(meta, (error) => {
      if (error) return this.failed(`what it has promised cannot be written down: ${error.message}`);
      this.machine.metaSaved(this.now(), ticket);
    });
  }

  // The state machine

  mayApply(): boolean {
    this.#held ||= this.#disk.database.isBehind;
    return !this.#held;
  }
  #committed(index: number): void {
    this.guard?.committed(index);
    if (!this.#held) return;
    this.#held = false;
    this.wantFlush();
  }
  execute(record: LogRecord): Uint8Array {
    return this.#disk.database.execute(record);
  }
  sessionChanged(change: SessionChange): void {
    this.#disk.database.sessionChanged(change);
  }
  levelRaised(module: string, level: number): void {
    this.#disk.database.levelRaised(module, level);
  }
  applied(record: LogRecord): void {
    this.#disk.database.applied(record);
    if (this.#telling) return;
    this.#telling = true;
    setImmediate(() => {
      this.#telling = false;
      if (!this.#ended) this.#options.applied();
    });
  }
  touched(record: LogRecord): readonly number[] | null {
    return this.#touched.of(record);
  }

  // Links and the coordinator

  send(disk: DiskId, message: ReplicaMessage): void {
    this.#options.send(disk, message);
  }
  sendSnapshot(disk: DiskId, fromIndex: number): void {
    this.#options.sendSnapshot(disk, fromIndex);
  }
  propose(change: Change): void {
    this.#options.propose(change);
  }
  askConfiguration(): void {
    this.#options.askConfiguration();
  }

  // Clients

  answer(ticket: number, outcome: WriteOutcome): void {
    const done = this.#writes.get(ticket);
    this.#writes.delete(ticket);
    done?.(outcome);
  }
  answerRead(ticket: number, outcome: ReadOutcome): void {
    const done = this.#reads.get(ticket);
    this.#reads.delete(ticket);
    done?.(outcome);
  }

  // The host

  readLease(deadlineMs: number): void {
    if (!this.#installing && !this.#ended) this.guard?.setDeadline(deadlineMs);
  }
  roleChanged(role: Role): void {
    this.#options.roleChanged(role);
  }
  wantFlush(): void {
    setImmediate(() => {
      if (!this.#ended && !this.#installing) this.machine.flush(this.now());
    });
  }
  failed(reason: string): void {
    this.#options.failed(reason);
  }
  wallMs(): number {
    return this.#timeOfDay.nowMs();
  }
  random(): Uint8Array {
    return this.#pool.draw();
  }
}
