/**
 * The module `views`: the records of an instance's kernels (core/kernel/view.ts) in the order of its OS state. So a
 * View is fenced and replicated like any write, and needs no coordinator. A record's index is that of the log.
 *
 * Kept are a View and the records after it: whoever follows from further behind begins with that View.
 */
import { Decoder, Encoder } from "@msgpack/msgpack";
import { z } from "zod";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { RecordHistory } from "../../kernel/record-history.ts";
import {
  Incarnation,
  KernelRecordSchema,
  type RecordBatch,
  RecordId,
  ViewSnapshotSchema,
} from "../../kernel/record-schema.ts";
import type { KernelRecord, OrderedRecord } from "../../kernel/view.ts";
import { recordsKept, recordsPerBatch, recordsPerFold } from "../../limits.ts";
import {
  type Follower,
  ModuleRefusal,
  type OpenModule,
  type StateModule,
  type StateTables,
} from "../module.ts";

const tables = `
  CREATE TABLE views_base (view TEXT NOT NULL) STRICT;
  CREATE TABLE views_record (record INTEGER PRIMARY KEY, id TEXT NOT NULL, content TEXT NOT NULL) STRICT;
`;

/** What is written: a record that a kernel proposes, or the certificate that a kernel's host process has ended. */
export const ViewsOperation = z.discriminatedUnion("op", [
  z.strictObject({ op: z.literal("record"), id: RecordId, record: KernelRecordSchema }),
  z.strictObject({ op: z.literal("exit"), id: RecordId, incarnation: Incarnation }),
]);
export type ViewsOperation = z.infer<typeof ViewsOperation>;

/** Followers get `RecordBatch`es of what comes after this index. */
export const ViewsFollow = z.strictObject({ after: z.number().int().min(0) });

const encoder = new Encoder();
const decoder = new Decoder();
const keys = ["views"];

export const views: StateModule = {
  name: "views",
  level: 1,
  create: (db) => db.exec(tables),
  open: (db) => new OpenViews(db),
};

class OpenViews implements OpenModule {
  readonly #db: StateTables;
  readonly #history: RecordHistory;

  constructor(db: StateTables) {
    this.#db = db;
    const [base] = db.prepare("SELECT view FROM views_base").all() as { view: string }[];
    this.#history = new RecordHistory(base && ViewSnapshotSchema.parse(JSON.parse(base.view)));
    for (const row of db.prepare("SELECT * FROM views_record ORDER BY record").all()) {
      const { record: index, id, content } = row as { record: number; id: string; content: string };
      this.#history.append({ index, id, record: KernelRecordSchema.parse(JSON.parse(content)) });
    }
  }

  encode(operation: unknown): Uint8Array {
    return encoder.encode(parseOrThrow(ViewsOperation, operation, "operation of views"));
  }

  /** The result is the record's index, which says nothing of whether it fitted. */
  apply(operation: Uint8Array, { index }: { index: number }): number {
    const ordered = this.#recordOf(operation, index);
    this.#history.append(ordered);
    this.#db
      .prepare("INSERT INTO views_record VALUES (?, ?, ?)")
      .run(index, ordered.id, JSON.stringify(ordered.record));
    if (this.#history.length >= recordsKept + recordsPerFold) this.#fold();
    return index;
  }

  touched(): readonly string[] {
    return keys;
  }
  keysOf(): readonly string[] {
    return keys;
  }

  /** Of the last record: unless it has changed, nobody has gone. */
  get index(): number {
    return this.#history.view.index;
  }

  /** Incarnations that were removed, lately: what their clients wrote is to be carried out no more. */
  gone(): readonly string[] {
    return this.#history.view.goneIncarnations;
  }

  /** The View as it is now. */
  read(): unknown {
    return this.#history.view.snapshot();
  }

  follow(query: unknown): Follower {
    let { after } = parseOrThrow(ViewsFollow, query, "query of views");
    // Whoever begins is told at once, if only that there is nothing.
    let told = after > 0;
    return {
      next: () => {
        const batch: RecordBatch = this.#history.after(after, recordsPerBatch);
        if (batch.records.length === 0 && batch.snapshot === null && told) return [];
        told = true;
        after = batch.records.at(-1)?.index ?? batch.snapshot?.index ?? after;
        return [batch];
      },
    };
  }

  *rows(): Iterable<readonly string[]> {
    yield [JSON.stringify(this.#history.view.snapshot())];
  }

  #recordOf(operation: Uint8Array, index: number): OrderedRecord {
    const parsed = ViewsOperation.safeParse(decoder.decode(operation));
    if (!parsed.success) throw new ModuleRefusal("this is no operation of views");
    const { data } = parsed;
    if (data.op === "record") return { index, id: data.id, record: data.record };
    const member = this.#history.view.memberOf(data.incarnation);
    if (!member) throw new ModuleRefusal(`kernel ${data.incarnation} is not in the view`);
    const record: KernelRecord = { type: "remove", kernel: member.kernel, reason: "exit-certificate" };
    return { index, id: data.id, record };
  }

  #fold(): void {
    const { snapshot } = this.#history.prefix(recordsPerFold);
    this.#history.fold(snapshot.index);
    this.#db.prepare("DELETE FROM views_base").run();
    this.#db.prepare("INSERT INTO views_base VALUES (?)").run(JSON.stringify(snapshot));
    this.#db.prepare("DELETE FROM views_record WHERE record <= ?").run(snapshot.index);
  }
}

/** Throws INVALID for another module. */
export function viewsOf(module: OpenModule): Pick<OpenViews, "index" | "gone"> {
  if (module instanceof OpenViews) return module;
  throw new DvsError("INVALID", "Cannot ask a module other than views for kernels that have gone.");
}
