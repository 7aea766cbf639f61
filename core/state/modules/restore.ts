/**
 * The module `restore`: the state of an instance gives way to that of a backup, as one record of its log.
 *
 *     begin id ─▶ piece 0, 1, 2, … ─▶ commit id      the tables that the pieces have filled take the places of the
 *        └───────────┴──▶ abort id                   modules' own: renamed, in the one step of that record
 *
 * Pieces go to tables beside, which nobody reads, so that other operations go on until the commit, and each replica has
 * either the old state or the new one after each record, also one that joins in the middle. What was there is trash
 * then (trash.ts): renaming costs the same for any size. Bytes go to segments that `begin` has reserved, so that what is
 * written meanwhile and what is restored never meet; ids, too.
 *
 * Each operation may be written again: it is carried out once by its id and number. So whoever restores goes on through
 * a takeover; one that has ended leaves a restore that no commit follows, which the next begin, or time, clears away.
 *
 * Sessions of clients stay: what a client has been told remains true of the log, so that a retry of a write from before
 * the commit gets that write's result and is not carried out on the new state. Levels stay, they are of the replicas.
 */
import { Decoder, Encoder } from "@msgpack/msgpack";
import { z } from "zod";
import { parseOrThrow } from "../../errors.ts";
import { segmentLengthMax } from "../../blocks/limits.ts";
import { operationBytesMax } from "../../replica/timings.ts";
import { restoreAbandonedMs } from "../limits.ts";
import {
  type ApplyContext,
  type ColumnValue,
  type ModuleBlocks,
  ModuleRefusal,
  type OpenModule,
  type Reserved,
  type RestoredTable,
  type StateModule,
  type StateTables,
} from "../module.ts";
import { trashName } from "../trash.ts";

const tables = `
  CREATE TABLE restore_state (
    id          TEXT NOT NULL,    -- Of the one under way; empty: none is.
    tag         INTEGER NOT NULL, -- The record that began it, and the name of its tables.
    pieces      INTEGER NOT NULL, -- That it has.
    time        INTEGER NOT NULL, -- Of the last.
    done_id     TEXT NOT NULL,    -- The last that was carried out,
    done_record INTEGER NOT NULL  -- and by which record.
  ) STRICT;
  INSERT INTO restore_state VALUES ('', 0, 0, 0, '', 0);
`;

/** Made by the first restore of a module that reserves something; of the one under way. */
const reservedTable = `
  CREATE TABLE IF NOT EXISTS restore_reserved (
    module   TEXT PRIMARY KEY,
    id       INTEGER NOT NULL, -- The first.
    segment  INTEGER NOT NULL, -- The first,
    segments INTEGER NOT NULL  -- and how many.
  ) STRICT, WITHOUT ROWID;
`;
/** From 2 on there are blocks, and files are restored. */
export const restoreLevel = 2;

const id = z.string().regex(/^[0-9a-f-]{1,64}$/);
const count = z.number().int().min(0);
const content = z.custom<Uint8Array>(
  (value) => value instanceof Uint8Array && value.length <= operationBytesMax,
);

export const RestoreOperation = z.discriminatedUnion("op", [
  z.strictObject({
    op: z.literal("begin"),
    id,
    /** What modules need of ids and segments. */
    reserve: z
      .array(z.strictObject({ module: z.string().max(64), ids: count, segments: count }))
      .max(16)
      .optional(),
  }),
  /** `content`: as `encodePiece` makes it. */
  z.strictObject({ op: z.literal("piece"), id, number: count, content }),
  /** Counts as a piece. `segment`: from 0 on, of those that are reserved for the module. */
  z.strictObject({
    op: z.literal("blocks"),
    id,
    number: count,
    module: z.string().max(64),
    segment: count,
    position: count,
    bytes: content,
  }),
  /** After so many pieces. */
  z.strictObject({ op: z.literal("commit"), id, pieces: count }),
  /** Unless it has got more than so many pieces since; without: whatever it has. */
  z.strictObject({ op: z.literal("abort"), id, pieces: count.optional() }),
]);
export type RestoreOperation = z.infer<typeof RestoreOperation>;

/** `record`: of a commit, the one that carried it out. */
export const RestoreResult = z.object({ pieces: count, record: count });
export type RestoreResult = z.infer<typeof RestoreResult>;

const Content = z.tuple([z.string(), z.array(z.array(z.unknown()))]);

const encoder = new Encoder();
const decoder = new Decoder();

interface State {
  id: string;
  tag: number;
  pieces: number;
  time: number;
  done_id: string;
  done_record: number;
}

/** Rows of one table, in the order of its columns. */
export function encodePiece(table: string, rows: readonly (readonly ColumnValue[])[]): Uint8Array {
  return encoder.encode([table, rows]);
}

/** Of the modules that give way. */
export function restoreModule(modules: readonly StateModule[]): StateModule {
  return {
    name: "restore",
    level: restoreLevel,
    create: (db) => db.exec(tables),
    open: (db, blocks) => new Restore(db, modules, blocks),
  };
}

interface ReservedRow extends Reserved {
  module: string;
  segments: number;
}

const nothingReserved: Reserved = { id: 0, segment: 0 };

class Restore implements OpenModule {
  readonly changesOthers = true;
  readonly #db: StateTables;
  readonly #blocks: ModuleBlocks | undefined;
  readonly #modules: readonly StateModule[];
  readonly #tables: ReadonlyMap<string, { table: RestoredTable; module: string }>;

  constructor(db: StateTables, modules: readonly StateModule[], blocks: ModuleBlocks | undefined) {
    this.#db = db;
    this.#blocks = blocks;
    this.#modules = modules;
    const all = modules.flatMap(({ name: module, restore }) =>
      (restore?.tables ?? []).map((table) => [table.name, { table, module }] as const),
    );
    this.#tables = new Map(all);
  }

  encode(operation: unknown): Uint8Array {
    return encoder.encode(parseOrThrow(RestoreOperation, operation, "operation of a restore"));
  }

  apply(operation: Uint8Array, context: ApplyContext): RestoreResult {
    const decoded = decode(operation);
    const state = this.#state();
    switch (decoded.op) {
      case "begin":
        return this.#begin(decoded, state, context);
      case "piece":
        return this.#piece(decoded, state, context);
      case "blocks":
        return this.#putBlocks(decoded, state, context);
      case "commit":
        return this.#commit(decoded, state, context);
      case "abort":
        if (decoded.id === state.id && (decoded.pieces ?? state.pieces) === state.pieces)
          this.#giveUp(state, context.index);
        return { pieces: 0, record: 0 };
    }
  }

  /** A commit changes everything; what comes before it nothing that can be read. */
  touched(operation: Uint8Array): readonly string[] | null {
    try {
      return decode(operation).op === "commit" ? null : [];
    } catch {
      return null;
    }
  }

  due(timeMs: number): Uint8Array | null {
    const state = this.#state();
    if (state.id === "" || timeMs < state.time + restoreAbandonedMs) return null;
    return this.encode({ op: "abort", id: state.id, pieces: state.pieces });
  }

  keysOf(): readonly string[] {
    return [];
  }

  /** For people and tests: what is under way. */
  read(): { id: string; pieces: number; doneId: string } {
    const { id: of, pieces, done_id: doneId } = this.#state();
    return { id: of, pieces, doneId };
  }

  *rows(): Iterable<readonly ColumnValue[]> {
    const state = this.#state();
    yield Object.values(state) as ColumnValue[];
    for (const row of this.#reserved()) yield Object.values(row) as ColumnValue[];
    for (const [name, staged] of this.#staged(state)) {
      const { columns } = this.#tables.get(name)!.table;
      // Their first columns are their keys.
      const sql = `SELECT ${columns.join(", ")} FROM ${staged} ORDER BY 1, 2`;
      for (const row of this.#db.prepare(sql).iterate()) yield Object.values(row) as ColumnValue[];
    }
  }

  #begin(
    { id: of, reserve = [] }: Extract<RestoreOperation, { op: "begin" }>,
    state: State,
    { index, timeMs, level }: ApplyContext,
  ): RestoreResult {
    if (of === state.done_id) throw new ModuleRefusal("this restore has been carried out");
    if (of === state.id) return { pieces: state.pieces, record: 0 };
    this.#giveUp(state, index);
    const begun: State = { ...this.#state(), id: of, tag: index, pieces: 0, time: timeMs };
    for (const { table, module } of this.#tables.values()) {
      // Below it no other module was restored.
      if (level < restoreLevel && module !== "kv") continue;
      this.#db.exec(table.create(stagedName(begun, table.name), `_${index}`));
    }
    if (level >= restoreLevel) for (const wanted of reserve) this.#reserve(wanted);
    this.#save(begun);
    return { pieces: 0, record: 0 };
  }

  #reserve({ module, ids, segments }: { module: string; ids: number; segments: number }): void {
    const rules = this.#modules.find(({ name }) => name === module)?.restore;
    if (!rules?.reserve) throw new ModuleRefusal(`this instance has no place for blocks of "${module}"`);
    const { id: first, segment } = rules.reserve(this.#db, { ids, segments }, this.#discard);
    this.#db.exec(reservedTable);
    this.#db
      .prepare("INSERT INTO restore_reserved VALUES (?, ?, ?, ?)")
      .run(module, first, segment, segments);
  }

  #piece(
    { id: of, number, content: bytes }: Extract<RestoreOperation, { op: "piece" }>,
    state: State,
    { timeMs }: ApplyContext,
  ): RestoreResult {
    if (!isNext(of, number, state)) return { pieces: state.pieces, record: 0 };
    const [name, rows] = readContent(bytes);
    const known = this.#tables.get(name);
    const staged = this.#staged(state).get(name);
    if (!known?.table.take || !staged) throw new ModuleRefusal(`this instance restores no table "${name}"`);
    const { table, module } = known;
    const reserved = this.#reserved().find((row) => row.module === module) ?? nothingReserved;
    const sql = `INSERT INTO ${staged} (${table.columns.join(", ")}) VALUES (${table.columns.map(() => "?").join(", ")})`;
    const insert = this.#db.prepare(sql);
    for (const row of rows) insert.run(...table.take!(row, { begun: state.tag, timeMs, reserved }));
    return this.#taken(state, timeMs);
  }

  #putBlocks(
    { id: of, number, module, segment, position, bytes }: Extract<RestoreOperation, { op: "blocks" }>,
    state: State,
    { timeMs, level }: ApplyContext,
  ): RestoreResult {
    // As one that does not know of them.
    if (level < restoreLevel) throw new ModuleRefusal("this is no operation of a restore");
    if (!isNext(of, number, state)) return { pieces: state.pieces, record: 0 };
    const reserved = this.#reserved().find((row) => row.module === module);
    if (!reserved || segment >= reserved.segments || position + bytes.length > segmentLengthMax)
      throw new ModuleRefusal(`no place is reserved for these blocks of "${module}"`);
    // A replica without a place for bytes must not seem to have them.
    if (!this.#blocks) throw new Error("no blocks");
    this.#blocks.write(reserved.segment + segment, position, bytes);
    return this.#taken(state, timeMs);
  }

  #taken(state: State, timeMs: number): RestoreResult {
    const pieces = state.pieces + 1;
    this.#save({ ...state, pieces, time: timeMs });
    return { pieces, record: 0 };
  }

  #commit(
    { id: of, pieces }: Extract<RestoreOperation, { op: "commit" }>,
    state: State,
    { index, timeMs }: ApplyContext,
  ): RestoreResult {
    if (of === state.done_id) return { pieces, record: state.done_record };
    checkUnderWay(of, state);
    if (pieces !== state.pieces) throw new ModuleRefusal(`it has ${state.pieces} pieces, and not ${pieces}`);
    const staged = this.#staged(state);
    for (const [name, beside] of staged) {
      this.#rename(name, trashName(index, name));
      this.#rename(beside, name);
    }
    const old = (table: string): string => trashName(index, table);
    for (const { restore } of this.#modules) {
      if (restore?.tables.every(({ name }) => staged.has(name)))
        restore.restored(this.#db, { begun: state.tag, index, timeMs, old, discard: this.#discard });
    }
    this.#forgetReserved();
    this.#save({ ...state, id: "", pieces: 0, done_id: of, done_record: index });
    return { pieces, record: index };
  }

  #giveUp(state: State, index: number): void {
    if (state.id === "") return;
    for (const [name, beside] of this.#staged(state)) this.#rename(beside, trashName(index, name));
    for (const { segment, segments } of this.#reserved())
      for (let i = 0; i < segments; i++) this.#discard(segment + i);
    this.#forgetReserved();
    this.#save({ ...state, id: "", pieces: 0 });
  }

  /** Tables of modules, and those that are to take their places: the one under way may have begun without some. */
  #staged(state: State): ReadonlyMap<string, string> {
    if (state.id === "") return new Map();
    const isThere = this.#db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?");
    const names = [...this.#tables.keys()].map((name) => [name, stagedName(state, name)] as const);
    return new Map(names.filter(([, staged]) => isThere.get(staged)));
  }

  #reserved(): ReservedRow[] {
    const isThere = this.#db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'restore_reserved'").get();
    if (!isThere) return [];
    const rows = this.#db
      .prepare("SELECT module, id, segment, segments FROM restore_reserved ORDER BY module")
      .all();
    return rows as unknown as ReservedRow[];
  }

  #forgetReserved(): void {
    if (this.#reserved().length > 0) this.#db.exec("DELETE FROM restore_reserved");
  }

  readonly #discard = (segment: number): void => {
    this.#blocks?.discard(segment);
  };

  #rename(from: string, to: string): void {
    this.#db.exec(`ALTER TABLE ${from} RENAME TO ${to}`);
  }

  #state(): State {
    return this.#db.prepare("SELECT * FROM restore_state").get() as unknown as State;
  }
  #save({ id: of, tag, pieces, time, done_id, done_record }: State): void {
    this.#db
      .prepare("UPDATE restore_state SET id = ?, tag = ?, pieces = ?, time = ?, done_id = ?, done_record = ?")
      .run(of, tag, pieces, time, done_id, done_record);
  }
}

/** The same on each replica, and of no other restore. */
function stagedName({ tag }: State, table: string): string {
  return `restore_${tag}_${table}`;
}

/** False: it has come before. */
function isNext(of: string, number: number, state: State): boolean {
  checkUnderWay(of, state);
  if (number > state.pieces) throw new ModuleRefusal(`piece ${state.pieces} has not come yet`);
  return number === state.pieces;
}

function checkUnderWay(of: string, state: State): void {
  if (of !== state.id) throw new ModuleRefusal("it was given up, or another restore has taken its place");
}

function decode(operation: Uint8Array): RestoreOperation {
  let decoded: unknown;
  try {
    decoded = decoder.decode(operation);
  } catch {
    // Refused below.
  }
  const parsed = RestoreOperation.safeParse(decoded);
  if (!parsed.success) throw new ModuleRefusal("this is no operation of a restore");
  return parsed.data;
}

function readContent(bytes: Uint8Array): [table: string, rows: unknown[][]] {
  let decoded: unknown;
  try {
    decoded = decoder.decode(bytes);
  } catch {
    // Refused below.
  }
  const parsed = Content.safeParse(decoded);
  if (!parsed.success) throw new ModuleRefusal("this is no piece of a backup");
  return parsed.data;
}
