/**
 * A module is one kind of state in an instance's OS state: its tables in the replica's database, and the operations
 * that change them. Every replica applies the same operations in the same order and must come to the same state, so an
 * operation knows nothing but its own bytes, its context and the tables: no clock, no chance, no order of a hash map.
 *
 * Operations are versioned by *level*: a replica that was upgraded goes on with the level in force until all have it.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";

/** The replica's database, as modules use it. Inside `apply` a transaction is open, which is not the module's to end. */
export type StateTables = Pick<DatabaseSync, "exec" | "prepare">;
export type StateStatement = StatementSync;

export interface ApplyContext {
  /** Of the record, as a revision (core/replica/era.ts). Rises; no two operations have the same, also not lost ones. */
  index: number;
  /** Unix milliseconds, drawn by the primary: never less than in the record before, but it may stand still or jump. */
  timeMs: number;
  /** 16 bytes, drawn by the primary. */
  random: Uint8Array;
  /** Whose operation it is; "" for the system's own. */
  client: string;
  /** The level in force, from 1 on: behaviour that a later level changed stays as it was below it. */
  level: number;
}

/** A table of a module, as backups carry it. */
export interface RestoredTable {
  readonly name: string;
  readonly columns: readonly string[];
  /** SQL that makes an empty one of this name. Indexes have names of their own in a database: `tag` tells them apart. */
  readonly create: (name: string, tag: string) => string;
  /**
   * A row of a backup (`columns`, in their order) as it is to be here. Throws ModuleRefusal for what cannot be one.
   * Missing: the table is empty after a restore.
   */
  readonly take?: (row: readonly unknown[], context: TakeContext) => readonly ColumnValue[];
}
export type ColumnValue = string | number | Uint8Array | null;

export interface TakeContext {
  /** The record with which the restore began; nothing else is at its index. */
  begun: number;
  timeMs: number;
  /** What the module has reserved. */
  reserved: Reserved;
}

/** Numbers that nothing had before a restore, and nothing else will have: from these on, as many as its plan says. */
export interface Reserved {
  id: number;
  segment: number;
}

export interface RestoredContext {
  begun: number;
  index: number;
  timeMs: number;
  /** What a table of the module has given way to: its name now. */
  readonly old: (table: string) => string;
  /** As `ModuleBlocks.discard`. */
  readonly discard: (segment: number) => void;
}

/** Bytes that a backup has beside its database: those of its segments, then those of files of images that it names. */
export interface BackupBytes {
  readonly size: number;
  read(position: number, length: number): Uint8Array;
}

/** How a module with ids and blocks of its own is restored, as the helper has found out. */
export interface RestorePlan {
  /** Ids in its rows are below it. */
  readonly ids: number;
  /** What goes into segments, the first of them first: from where in the bytes of the backup, and how much. */
  readonly segments: readonly (readonly [from: number, length: number])[];
  /** Of one of its tables; they name segments from 0 on. */
  rows(table: string): Iterable<readonly ColumnValue[]>;
}

/** How the state of a module gives way to that of a backup (modules/restore.ts). */
export interface RestoreRules {
  /** All that backups have, or that has to begin empty. */
  readonly tables: readonly RestoredTable[];
  /** In the same step in which the tables took their places: what else has to fit to them. Short. */
  restored(tables: StateTables, context: RestoredContext): void;
  /** Why rows that are each well cannot be taken together; null: they can. In the helper, over a backup. */
  problem?(backup: StateTables): string | null;
  /** In the helper. Throws ModuleRefusal where the bytes are not those of the rows. Missing: rows as they are. */
  plan?(backup: StateTables, bytes: BackupBytes): RestorePlan;
  /** Of a module with a plan, as part of the restore's first operation. Throws ModuleRefusal where there are not so many. */
  reserve?(
    tables: StateTables,
    wanted: { ids: number; segments: number },
    discard: (segment: number) => void,
  ): Reserved;
}

export interface StateModule {
  /** Lower-case; its tables are called `name_…`. */
  readonly name: string;
  /** The highest that it can apply. */
  readonly level: number;
  /** Its tables, in a database that has none of them. The same on each level: a change of tables is an operation. */
  create(tables: StateTables): void;
  /** `blocks`: missing where only tables are read. */
  open(tables: StateTables, blocks?: ModuleBlocks): OpenModule;
  /** Missing: a restore leaves it as it is, since it tells of what lives now. */
  readonly restore?: RestoreRules;
  /** Of a module with blocks. */
  readonly backup?: BackupRules;
}

/** What a backup has to have beside the database; over one that is only read. */
export interface BackupRules {
  /** All that it has in a segment, so that damage is found before it is in a backup. */
  ranges(tables: StateTables, segment: number): Iterable<ScrubRange>;
  /** Files of images that it names, and how much of each from its beginning: a backup does not need the image. */
  blobs(tables: StateTables): readonly { digest: string; length: number }[];
}

/**
 * Bytes that are too many for tables: segments, append-only files beside the database. A module decides in `apply`
 * where they go and keeps that, with their checksums, in its tables; so positions are the same on each replica. The
 * bytes come with the operation: the log has them until a snapshot has the segments, on the disk.
 */
export interface ModuleBlocks {
  /** About how long a segment becomes, the same on each replica. Missing: what its module finds right. */
  readonly segmentBytes?: number;
  /** Later reads see them at once. Bytes of the operation may be kept. Only in `apply`. */
  write(segment: number, position: number, bytes: Uint8Array): void;
  /** Rejects with FAILED where they cannot be read, and with NOT_FOUND where the segment is gone. The caller checks them. */
  read(segment: number, position: number, length: number): Promise<Uint8Array>;
  /** At once, where they are at hand and short; null: use `read`. */
  readNow?(segment: number, position: number, length: number): Uint8Array | null;
  /** Nothing in it is needed from this record on. It goes when a snapshot has this record, too. Only in `apply`. */
  discard(segment: number): void;
  /**
   * On the disk of the replica that has least, for more of them; null: it is not known here, but at a replica. For
   * answers only: it differs from replica to replica. Missing: there is no disk.
   */
  bytesFree?(): number | null;
  /** Of a file of an image, by its digest, as every node has it. Missing: there is none here. */
  readBlob?(digest: string, position: number, length: number): Promise<Uint8Array>;
  /** What was read is not what was written: it is fetched from another replica, put in its place, and returned. */
  repair?(
    segment: number,
    position: number,
    length: number,
    isGood: (bytes: Uint8Array) => boolean,
  ): Promise<Uint8Array>;
}

export interface OpenModule {
  /** What somebody wants to write, checked and encoded. Throws DvsError INVALID or TOO_LARGE. */
  encode(operation: unknown): Uint8Array;
  /**
   * Carries it out and returns the result: what msgpack can hold, at most `resultBytesMax` encoded. A ModuleRefusal is
   * a result too; whatever was changed before it is undone. At most a few milliseconds.
   */
  apply(operation: Uint8Array, context: ApplyContext): unknown;
  /**
   * The same for an operation that is never refused, and changes nothing when it throws: without a savepoint, and what
   * it changes may be kept in memory until `settle`. Null: `apply` it.
   */
  applyQuickly?(operation: Uint8Array, context: ApplyContext): unknown;
  /**
   * Puts into the tables what is kept in memory: before any other operation, and before each COMMIT. Whatever else looks
   * at the tables does it by itself. After it nothing is kept, also when it throws; a transaction that is rolled back is
   * carried out again, from its first operation on.
   */
  settle?(): void;
  /** Keys that the operation may change, as `keysOf` names them; null: any. Never throws. */
  touched(operation: Uint8Array): readonly string[] | null;
  /** A new primary serves. Times in records may have jumped; what ends by time gets its full time again. */
  epochStarted?(context: EpochContext): void;
  /** What the primary writes by itself at this time: an operation, or null. Asked a few times a second. */
  due?(timeMs: number): Uint8Array | null;
  /** As `due`, for work that reads blocks: asked by the primary when the one before has been carried out. */
  work?(): Promise<Uint8Array | null>;
  /** A client is gone, by a record: what was its own (locks, open files) goes with it. */
  clientRemoved?(client: string, context: Pick<ApplyContext, "index" | "timeMs">): void;

  /**
   * Keys that the answer of a query depends on, as the state is now; null: any. Throws INVALID for what is no query.
   * They may be others by the time that it is read: whoever has read asks again, and reads again where they are.
   */
  keysOf(query: unknown): readonly string[] | null;
  /**
   * Answers it from the state as it is now, in at most a few milliseconds. A promise: what is true was decided now, and
   * bytes are still to be read.
   */
  read(query: unknown): unknown;
  /** Begins to follow changes. Throws INVALID, or CONFLICT when what it wants to begin with is no longer kept. */
  follow?(query: unknown): Follower;

  /** It changes the tables of other modules, and leaves tables behind that are to be removed bit by bit (trash.ts). */
  readonly changesOthers?: boolean;
  /** Another module has changed its tables, or has tried to: what is remembered of them is void. */
  tablesChanged?(): void;

  /**
   * What it has in blocks behind `after` (null: from the start), in an order of its own, at most so many ranges; `next`
   * is what goes on, null: that was all. A few milliseconds.
   */
  scrub?(after: unknown, max: number): { ranges: ScrubRange[]; next: unknown };

  /** All of its state, row by row in an order that is its own: equal for equal states, whatever SQLite made of it. */
  rows(): Iterable<readonly (string | number | Uint8Array | null)[]>;
}

export interface EpochContext extends Pick<ApplyContext, "index" | "timeMs"> {
  /** Acknowledged records have been given up: those behind this index, up to this record, are nobody's. Null: none. */
  lostAfter: number | null;
}

/** Bytes in a segment, and how to tell that they are as they were written. */
export interface ScrubRange {
  segment: number;
  position: number;
  length: number;
  isGood: (bytes: Uint8Array) => boolean;
}

export interface Follower {
  /** The next values, at most so many; none for now: ask again when something was applied. Throws CONFLICT as `follow`. */
  next(max: number): unknown[];
}

/** An operation that is refused whoever asks, deterministically: its result is this message. */
export class ModuleRefusal extends Error {}
