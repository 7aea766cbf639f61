/** The volume's module over a database of its own, as a replica has it: operations in records, records in transactions. */
import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { Encoder } from "@msgpack/msgpack";
import { files } from "../../../../core/files/module/files.ts";
import { MemoryBlocks } from "../../../../core/files/module/memory-blocks.ts";
import type { By, FileOperation, FileQuery, FileResult } from "../../../../core/files/operations.ts";
import type { OpenModule } from "../../../../core/state/module.ts";

const encoder = new Encoder();
export const superuser: By = [0, 0, []];

export interface TestRecord {
  index: number;
  timeMs: number;
  client: string;
  /** Null: this client is gone. */
  operation: FileOperation | null;
}

export class TestVolume {
  readonly db = new DatabaseSync(":memory:");
  readonly blocks = new MemoryBlocks();
  readonly module: OpenModule;
  index = 0;
  timeMs = 1_000_000;

  constructor() {
    files.create(this.db);
    this.module = files.open(this.db, this.blocks);
  }

  operate(operation: FileOperation, client = "one"): FileResult {
    return this.apply({ index: this.index + 1, timeMs: this.timeMs, client, operation });
  }

  /** In a transaction of its own, unless one is open. */
  apply({ index, timeMs, client, operation }: TestRecord): FileResult {
    this.index = index;
    this.timeMs = timeMs;
    const context = { index, timeMs, random: new Uint8Array(16), client, level: files.level };
    const isOpen = this.db.isTransaction;
    if (!isOpen) this.db.exec("BEGIN");
    this.db.exec("SAVEPOINT operation");
    let result: FileResult = [""];
    if (operation) result = this.module.apply(this.module.encode(operation), context) as FileResult;
    else this.module.clientRemoved!(client, context);
    this.db.exec("RELEASE operation");
    if (!isOpen) this.db.exec("COMMIT");
    return result;
  }

  /** The answer behind the error, which must be none. */
  ask(query: FileQuery): unknown {
    const [error, value] = this.module.read(query) as FileResult;
    if (error !== "") throw new Error(`${error} in answer to ${JSON.stringify(query)}`);
    return value;
  }

  errorOf(query: FileQuery): string {
    return (this.module.read(query) as FileResult)[0];
  }

  /** All of what is due by now. */
  tidy(): void {
    let steps = 0;
    for (let due = this.module.due!(this.timeMs); due; due = this.module.due!(this.timeMs)) {
      if (++steps > 10_000) throw new Error("there is always more to do");
      const context = {
        index: ++this.index,
        timeMs: this.timeMs,
        random: new Uint8Array(16),
        client: "",
        level: files.level,
      };
      this.module.apply(due, context);
    }
  }

  /** Moves what is left of sparse segments, until there is none. */
  async clean(): Promise<void> {
    for (let work = await this.module.work!(); work; work = await this.module.work!()) {
      const context = {
        index: ++this.index,
        timeMs: this.timeMs,
        random: new Uint8Array(16),
        client: "",
        level: files.level,
      };
      this.module.apply(work, context);
    }
  }

  digest(): string {
    const hash = createHash("sha256");
    for (const row of this.module.rows()) hash.update(encoder.encodeSharedRef(row));
    return hash.digest("hex");
  }

  close(): void {
    this.db.close();
  }
}
