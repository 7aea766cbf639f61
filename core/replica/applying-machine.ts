/**
 * What is committed, and carrying it out: each record once, in order, on each replica. Carries of DESIGN.md section 5
 * that only committed records are applied, and that an answer is the result of applying.
 *
 * Records that are not in memory any more are fetched from the log; a step applies at most `applyBatch` of them,
 * and few large ones.
 */
import { type LogRecord, recordKinds } from "./record.ts";
import type { Replica } from "./replica.ts";
import type { AppliedState } from "./sink.ts";
import { appendBytesMax, applyBatch, applyBatchBytes } from "./timings.ts";

export class ApplyingMachine {
  readonly #replica: Replica;
  #commitIndex: number;
  #appliedIndex: number;
  #fetching = false;
  #fetched: LogRecord[] = [];
  /** What comes next could not be read: not again before this. */
  #fetchFromMs = -Infinity;
  /** It met a record that it cannot apply. */
  #stuck = false;

  constructor(replica: Replica, state: AppliedState) {
    this.#replica = replica;
    replica.log.sawTime(state.timeMs ?? 0);
    // What was applied was committed; of the rest the primary tells.
    this.#commitIndex = state.index;
    this.#appliedIndex = state.index;
  }

  /** As far as this replica knows. Never above its log. */
  get commitIndex(): number {
    return this.#commitIndex;
  }
  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** The log has these records, and they are those of everybody. */
  commitTo(index: number): void {
    if (index <= this.#commitIndex) return;
    this.#commitIndex = index;
    // As the primary it tells the others.
    this.#replica.wantFlush();
    this.pump();
  }

  /** What this version of dvs cannot carry out it leaves alone. */
  checkLevels(): void {
    this.#stuck ||= !this.#replica.levels.check();
  }

  /** A snapshot was installed. */
  restore(state: AppliedState): void {
    this.checkLevels();
    this.#replica.log.sawTime(state.timeMs ?? 0);
    this.#commitIndex = state.index;
    this.#appliedIndex = state.index;
    this.#fetched = [];
    this.#fetching = false;
  }

  fetched(records: LogRecord[]): void {
    this.#fetching = false;
    this.#fetched = records;
    const { nowMs, timings } = this.#replica;
    if (records.length === 0) this.#fetchFromMs = nowMs + timings.retryMs;
    this.pump();
  }

  /** What could not be read is tried again. */
  tick(): void {
    if (this.#fetchFromMs === -Infinity || this.#replica.nowMs < this.#fetchFromMs) return;
    this.#fetchFromMs = -Infinity;
    this.pump();
  }

  pump(): void {
    const { log, reads, inSync, sink } = this.#replica;
    // A learner may hear that something is committed before it has written it: its database is not to be ahead of its log.
    const end = Math.min(this.#commitIndex, log.written);
    let left = applyBatch;
    let bytesLeft = applyBatchBytes;
    let held = false;
    while (!this.#stuck && this.#appliedIndex < end && left-- > 0 && bytesLeft > 0) {
      held = sink.mayApply?.() === false;
      if (held) break;
      const record = log.get(this.#appliedIndex + 1) ?? this.#takeFetched(this.#appliedIndex + 1);
      if (!record) {
        this.#fetch();
        break;
      }
      bytesLeft -= record.bytes.length;
      this.#apply(record);
    }
    const waits = this.#fetching || held || this.#fetchFromMs > this.#replica.nowMs;
    if (this.#appliedIndex < end && !this.#stuck && !waits) this.#replica.wantFlush();
    // What has to wait comes from the log again.
    log.trim(held ? log.written : Math.min(this.#appliedIndex, log.written));
    reads.applied();
    inSync.applied();
  }

  #apply(record: LogRecord): void {
    const { sink, sessions, writes, levels, log, isPrimary } = this.#replica;
    let done: { result: Uint8Array; index: number } | null = null;
    switch (record.kind) {
      case recordKinds.operation:
        done = sessions.apply(record);
        break;
      case recordKinds.clientRemoved:
        sessions.remove(record.client);
        done = { result: new Uint8Array(0), index: record.index };
        break;
      case recordKinds.sync:
        done = { result: new Uint8Array(0), index: record.index };
        break;
      case recordKinds.level:
        this.#stuck = !levels.apply(record);
        if (this.#stuck) return;
        break;
      case recordKinds.epochStart:
        break;
      default:
        this.#stuck = true;
        return sink.failed(
          `record ${record.index} is of kind ${record.kind as number}, which this version of dvs does not know: install the one of the other nodes`,
        );
    }
    log.sawTime(record.timeMs);
    this.#appliedIndex = record.index;
    sink.applied(record);
    if (isPrimary) writes.applied(record, done);
  }

  #takeFetched(index: number): LogRecord | null {
    const first = this.#fetched[0];
    if (!first || first.index > index) return null;
    const record = this.#fetched[index - first.index];
    return record && record.epoch === this.#replica.log.epochAt(index) ? record : null;
  }

  #fetch(): void {
    const { sink, self, nowMs } = this.#replica;
    if (this.#fetching || nowMs < this.#fetchFromMs) return;
    this.#fetching = true;
    sink.fetch(self.disk, this.#appliedIndex + 1, appendBytesMax);
  }
}
