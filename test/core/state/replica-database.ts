/** A replica's database with records that a test draws up, as a primary would. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LogRecord, RecordEncoder, type RecordKind, recordKinds } from "../../../core/replica/record.ts";
import { StateDatabase } from "../../../core/state/database.ts";
import type { StateModule } from "../../../core/state/module.ts";
import { kv } from "../../../core/state/modules/kv.ts";
import { decodeResult, type Result } from "../../../core/state/result.ts";

export class ReplicaDatabase {
  readonly dir = mkdtempSync(join(tmpdir(), "dvs-"));
  readonly path = join(this.dir, "state.db");
  readonly modules: readonly StateModule[];
  readonly timers: (() => void)[] = [];
  readonly failures: Error[] = [];
  readonly defects: unknown[] = [];
  readonly committed: number[] = [];
  readonly log: LogRecord[] = [];
  readonly #encoder = new RecordEncoder();
  db: StateDatabase;
  timeMs = 1_000_000;
  epoch = 1;

  constructor(modules: readonly StateModule[] = [kv]) {
    this.modules = modules;
    this.db = this.open();
    for (const { name, level } of modules) {
      this.apply(this.record({ kind: recordKinds.level, module: name, operation: new Uint8Array([level]) }));
    }
  }

  /** As after a restart, or of a copy. */
  open(path = this.path, full: (full: boolean) => void = () => undefined): StateDatabase {
    return new StateDatabase({
      path,
      modules: this.modules,
      after: (_, run) => void this.timers.push(run),
      committed: (index) => void this.committed.push(index),
      defect: (_, error) => void this.defects.push(error),
      full,
      failed: (error) => void this.failures.push(error),
    });
  }

  record(fields: { kind?: RecordKind; module?: string; operation?: Uint8Array; client?: string }): LogRecord {
    const { kind = recordKinds.operation, module = "", operation = new Uint8Array(0), client = "" } = fields;
    return this.#encoder.encode({
      ...{ epoch: this.epoch, index: this.db.appliedIndex + 1, kind, timeMs: this.timeMs },
      ...{ random: new Uint8Array(16), client, sequence: 0, ackedBelow: 0, module, operation },
    });
  }

  /** As the machine does, without sessions. */
  apply(record: LogRecord): Uint8Array | null {
    let result: Uint8Array | null = null;
    if (record.kind === recordKinds.level) this.db.levelRaised(record.module, record.operation[0]!);
    if (record.kind === recordKinds.operation) result = this.db.execute(record);
    this.db.applied(record);
    this.log.push(record);
    return result;
  }

  /** An operation of the key-value, as a client writes it. */
  kv(operation: unknown): Result {
    const encoded = this.db.module("kv").encode(operation);
    return decodeResult(this.apply(this.record({ module: "kv", operation: encoded }))!);
  }

  read(query: unknown): unknown {
    return this.db.module("kv").read(query);
  }

  runTimers(): void {
    for (const run of this.timers.splice(0)) run();
  }

  end(): void {
    this.db.close();
    rmSync(this.dir, { recursive: true });
  }
}
