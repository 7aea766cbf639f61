/**
 * Good records in the place of those that the own disk has damaged. What (epoch, index) names is one record, wherever
 * it is (rule 3): so any replica that has it may give it, and what it is compared with is the own log's table of epochs.
 *
 *     damaged ─▶ ask the primary, then the others ─▶ all there: the sink writes them in place
 *                      └─ none has them any more, or they are too many: the sink takes a snapshot in their place
 *
 * It goes on until the log says that nothing is damaged. Whoever is asked reads its own log, one answer at a time.
 */
import type { DiskId } from "./configuration.ts";
import { messageTable, type ReplicaMessage } from "./messages.ts";
import { decodeRecords, joinRecords, type LogRecord } from "./record.ts";
import type { Replica } from "./replica.ts";
import { appendBytesMax, repairBytesMax } from "./timings.ts";

export interface IndexRange {
  from: number;
  /** Inclusive. */
  to: number;
}

/** Names what is fetched for another replica, beside the disks that others are fed by. */
const loanPrefix = "loan ";
const nothing = new Uint8Array(0);

export class RepairMachine {
  readonly #replica: Replica;
  #damage: readonly IndexRange[] = [];
  /** Good ones, from the first damaged one on, without those between the ranges. */
  #records: LogRecord[] = [];
  #bytes = 0;
  /** Which of the others is asked. */
  #turn = 0;
  #isAsked = false;
  #nextMs = -Infinity;
  /** All are here, and the disk is at work. */
  #isRepairing = false;

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  /** What is damaged, as far as the log has it. */
  get damage(): readonly IndexRange[] {
    return this.#damage;
  }

  /** All that is damaged now; none: nothing is any more. */
  damaged(ranges: readonly IndexRange[]): void {
    this.#damage = ranges;
    this.#forget();
    this.#isRepairing = false;
  }

  tick(): void {
    const { nowMs, log } = this.#replica;
    if (this.#damage.length === 0 || this.#isRepairing || nowMs < this.#nextMs) return;
    const { base, lastIndex } = log;
    // Cut off meanwhile, at one end or the other.
    const isChanged = this.#damage.some(({ from, to }) => from <= base.index || to > lastIndex);
    if (isChanged) {
      this.#forget();
      this.#damage = this.#damage
        .map(({ from, to }) => ({ from: Math.max(from, base.index + 1), to: Math.min(to, lastIndex) }))
        .filter(({ from, to }) => from <= to);
      if (this.#damage.length === 0) return;
    }
    // No answer.
    if (this.#isAsked) this.#turn++;
    this.#ask();
  }

  /** Somebody's log is damaged there. */
  handleWantRecords(from: DiskId, [, index]: ReplicaMessage<"wantRecords">): void {
    const { log, sink } = this.#replica;
    if (index <= log.base.index || index > log.lastIndex) this.#give(from, nothing);
    else if (index >= log.recentFirst) this.#give(from, joinRecords(log.slice(index, appendBytesMax)));
    else sink.fetch(loanPrefix + from, index, appendBytesMax);
  }

  handleGivenRecords([, bytes]: ReplicaMessage<"givenRecords">): void {
    if (!this.#isAsked || this.#nextIndex() === null) return;
    this.#isAsked = false;
    const before = this.#records.length;
    for (const record of this.#decode(bytes)) this.#take(record);
    if (this.#nextIndex() === null) {
      this.#isRepairing = true;
      this.#turn = 0;
      return this.#replica.sink.repair(this.#records);
    }
    if (this.#records.length === before) this.#turn++;
    this.#ask();
  }

  /** What is fetched for others is told from what is fetched for the machine itself by the name of its reader. */
  isLoan(reader: string): boolean {
    return reader.startsWith(loanPrefix);
  }
  fetched(reader: string, bytes: Uint8Array): void {
    this.#give(reader.slice(loanPrefix.length), bytes);
  }

  #give(to: DiskId, bytes: Uint8Array): void {
    this.#replica.sink.send(to, [messageTable.givenRecords.number, bytes]);
  }

  #ask(): void {
    const { sink, nowMs, timings } = this.#replica;
    const to = this.#bytes > repairBytesMax ? undefined : this.#others()[this.#turn];
    if (to === undefined) {
      this.#forget();
      this.#nextMs = nowMs + timings.waitMs;
      return sink.repair([]);
    }
    this.#isAsked = true;
    this.#nextMs = nowMs + timings.retryMs;
    sink.send(to, [messageTable.wantRecords.number, this.#nextIndex()!]);
  }

  #forget(): void {
    this.#records = [];
    this.#bytes = 0;
    this.#turn = 0;
    this.#isAsked = false;
  }

  /** The primary first. */
  #others(): DiskId[] {
    const { configurations, self } = this.#replica;
    const { primary, inSync } = configurations;
    const disks = new Set(primary ? [primary.disk, ...inSync] : []);
    disks.delete(self.disk);
    return [...disks];
  }

  #decode(bytes: Uint8Array): LogRecord[] {
    try {
      return decodeRecords(bytes, this.#replica.crc32);
    } catch {
      return [];
    }
  }

  #take(record: LogRecord): void {
    if (record.index !== this.#nextIndex() || record.epoch !== this.#replica.log.epochAt(record.index))
      return;
    this.#records.push(record);
    this.#bytes += record.bytes.length;
  }

  /** The first damaged one that is not here; null: all are. */
  #nextIndex(): number | null {
    const last = this.#records.at(-1)?.index ?? 0;
    for (const { from, to } of this.#damage) if (to > last) return Math.max(from, last + 1);
    return null;
  }
}
