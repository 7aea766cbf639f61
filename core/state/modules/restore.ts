/**
 * The module `restore`: the state of an instance gives way to that of a backup, as one record of its log.
 *
 *     begin id ─▶ piece 0, 1, 2, … ─▶ commit id      the tables that the pieces have filled take the places of the
 *        └───────────┴──▶ abort id                   modules' own: renamed, in the one step of that record
 *
 * Pieces go to tables beside, which nobody reads, so that other operations go on until the commit, and each replica has
 * either the old state or the new one after each record, also one that joins in the middle. What was there is trash
 * then (trash.ts): renaming costs the same for any size.
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
import { operationBytesMax } from "../../replica/timings.ts";
import { restoreAbandonedMs } from "../limits.ts";
import {
  type ApplyContext,
  type ColumnValue,
  ModuleRefusal,
  type OpenModule,
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

const id = z.string().regex(/^[0-9a-f-]{1,64}$/);
const count = z.number().int().min(0);
const content = z.custom<Uint8Array>(
  (value) => value instanceof Uint8Array && value.length <= operationBytesMax,
);

export const RestoreOperation = z.discriminatedUnion("op", [
  z.strictObject({ op: z.literal("begin"), id }),
  /** `content`: as `encodePiece` makes it. */
  z.strictObject({ op: z.literal("piece"), id, number: count, content }),
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
    level: 1,
    create: (db) => db.exec(tables),
    open: (db) => new Restore(db, modules),
  };
}

class Restore implements OpenModule {
  readonly leavesTrash = true;
  readonly #db: StateTables;
  readonly #modules: readonly StateModule[];
  readonly #tables: ReadonlyMap<string, RestoredTable>;

  constructor(db: StateTables, modules: readonly StateModule[]) {
    this.#db = db;
    this.#modules = modules;
    this.#tables = new Map(modules.flatMap(({ restore }) => restore?.tables ?? []).map((t) => [t.name, t]));
  }

  encode(operation: unknown): Uint8Array {
    return encoder.encode(parseOrThrow(RestoreOperation, operation, "operation of a restore"));
  }

  apply(operation: Uint8Array, context: ApplyContext): RestoreResult {
    const decoded = decode(operation);
    const state = this.#state();
    switch (decoded.op) {
      case "begin":
        return this.#begin(decoded.id, state, context);
      case "piece":
        return this.#piece(decoded, state, context);
      case "commit":
        return this.#commit(decoded, state, context);
      case "abort":
        if (decoded.id === state.id && (decoded.pieces ?? state.pieces) === state.pieces)
          this.#discard(state, context.index);
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
    if (state.id === "") return;
    for (const { name, columns } of this.#tables.values()) {
      // Their first columns are their keys.
      const sql = `SELECT ${columns.join(", ")} FROM ${stagedName(state, name)} ORDER BY 1, 2`;
      for (const row of this.#db.prepare(sql).iterate()) yield Object.values(row) as ColumnValue[];
    }
  }

  #begin(of: string, state: State, { index, timeMs }: ApplyContext): RestoreResult {
    if (of === state.done_id) throw new ModuleRefusal("this restore has been carried out");
    if (of === state.id) return { pieces: state.pieces, record: 0 };
    this.#discard(state, index);
    const begun: State = { ...this.#state(), id: of, tag: index, pieces: 0, time: timeMs };
    for (const { name, create } of this.#tables.values())
      this.#db.exec(create(stagedName(begun, name), `_${index}`));
    this.#save(begun);
    return { pieces: 0, record: 0 };
  }

  #piece(
    { id: of, number, content: bytes }: Extract<RestoreOperation, { op: "piece" }>,
    state: State,
    { timeMs }: ApplyContext,
  ): RestoreResult {
    checkUnderWay(of, state);
    if (number < state.pieces) return { pieces: state.pieces, record: 0 };
    if (number > state.pieces) throw new ModuleRefusal(`piece ${state.pieces} has not come yet`);
    const [name, rows] = readContent(bytes);
    const table = this.#tables.get(name);
    if (!table?.take) throw new ModuleRefusal(`this instance restores no table "${name}"`);
    const { columns } = table;
    const sql = `INSERT INTO ${stagedName(state, name)} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`;
    const insert = this.#db.prepare(sql);
    for (const row of rows) insert.run(...table.take(row, { begun: state.tag, timeMs }));
    this.#save({ ...state, pieces: number + 1, time: timeMs });
    return { pieces: number + 1, record: 0 };
  }

  #commit(
    { id: of, pieces }: Extract<RestoreOperation, { op: "commit" }>,
    state: State,
    { index, timeMs }: ApplyContext,
  ): RestoreResult {
    if (of === state.done_id) return { pieces, record: state.done_record };
    checkUnderWay(of, state);
    if (pieces !== state.pieces) throw new ModuleRefusal(`it has ${state.pieces} pieces, and not ${pieces}`);
    for (const name of this.#tables.keys()) {
      this.#rename(name, trashName(index, name));
      this.#rename(stagedName(state, name), name);
    }
    for (const { restore } of this.#modules) restore?.restored(this.#db, { begun: state.tag, index, timeMs });
    this.#save({ ...state, id: "", pieces: 0, done_id: of, done_record: index });
    return { pieces, record: index };
  }

  #discard(state: State, index: number): void {
    if (state.id === "") return;
    for (const name of this.#tables.keys()) this.#rename(stagedName(state, name), trashName(index, name));
    this.#save({ ...state, id: "", pieces: 0 });
  }

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
