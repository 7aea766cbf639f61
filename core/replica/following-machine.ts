/**
 * Taking the log from the primary, as a member or a learner. Carries of DESIGN.md section 5:
 *
 *   rule 1   what is written here is acknowledged, cumulatively, as far as the log is known to be the primary's
 *   rule 3   appends of older epochs are refused; a longer tail, which was never committed, is cut off
 *   rule 7   `written` is told only where the disk knows that this replica runs in `replicated` mode
 *
 * A record is prepared from the moment that it is in the log in memory: reads that it touches wait from then on, and
 * that is before it is acknowledged.
 */
import type { DiskId } from "./configuration.ts";
import type { Position } from "./epoch-table.ts";
import { messageTable, type ReplicaMessage } from "./messages.ts";
import { decodeRecords, type LogRecord, recordKinds } from "./record.ts";
import type { Replica } from "./replica.ts";

export class FollowingMachine {
  readonly #replica: Replica;
  /** Up to here the log is that of this epoch's primary. */
  #received = 0;
  #toldWritten = -1;
  #toldDurable = -1;
  #tellDue = false;
  #isDiverged = false;
  /** Messages that could not be read; for people. */
  #unreadable = 0;

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  get received(): number {
    return this.#received;
  }
  get durable(): number {
    return Math.min(this.#received, this.#replica.log.durable);
  }
  get written(): number {
    const { configurations, log } = this.#replica;
    // It may already be alone, by a proposal of its own: then what it says that it has must last (rule 7).
    const isReplicated = configurations.isMarkedReplicated && !configurations.mayBeAlone;
    return isReplicated ? Math.min(this.#received, log.written) : this.durable;
  }
  /** What was committed here may not be the primary's: somebody has accepted its loss. Only a snapshot mends that. */
  get isDiverged(): boolean {
    return this.#isDiverged;
  }
  /** What is applied here is the primary's: of a member it always is, of others once the log is known to be the same. */
  get isSame(): boolean {
    const { configurations, self, applying, isPrimary } = this.#replica;
    if (isPrimary || (configurations.inSync.includes(self.disk) && !configurations.isAmnesiac)) return true;
    return this.#received >= applying.appliedIndex;
  }
  /** Whether a snapshot of the primary's, which ends with that record, says that what is committed here is not the primary's. */
  isContradictedBy({ epoch, index }: Position): boolean {
    const { log } = this.#replica;
    const at = Math.max(index, log.base.index);
    const own = log.epochAt(at);
    // Epochs do not fall: the primary's record there has that one, or one above.
    return own !== null && (own < epoch || (at === index && own !== epoch));
  }
  get unreadable(): number {
    return this.#unreadable;
  }

  handleAppend(
    from: DiskId,
    [, epoch, previousEpoch, previousIndex, commitIndex, bytes]: ReplicaMessage<"append">,
  ): void {
    const replica = this.#replica;
    const { configurations, log } = replica;
    if (!configurations.accepts(epoch) || from !== configurations.primary?.disk || replica.isPrimary) {
      if (epoch < configurations.epoch) configurations.tell(from);
      return;
    }
    let records: LogRecord[];
    try {
      records = decodeRecords(bytes, replica.crc32);
    } catch {
      // It is sent again.
      this.#unreadable++;
      return;
    }
    if (!this.#follows(from, previousEpoch, previousIndex)) return;
    const fresh = this.#reconcile(from, records);
    if (!fresh) return;
    this.#isDiverged = false;
    const before = this.#received;
    this.#received = Math.max(this.#received, previousIndex, records.at(-1)?.index ?? 0);
    if (fresh.length > 0) {
      log.append(fresh);
      replica.reads.prepared(fresh);
      const isFsync = replica.policy.durability === "fsync";
      if (isFsync || fresh.some(({ kind }) => kind === recordKinds.sync)) replica.sink.wantDurable();
    } else if (records.length > 0 || before === 0) this.#tellDue = true;
    replica.wantFlush();
    this.commit(commitIndex);
  }

  /** What the primary says is committed, as far as this log is known to be the same. */
  commit(index: number): void {
    this.#replica.applying.commitTo(Math.min(index, this.#received));
  }

  /** Another epoch, or another log: nothing is known of what is the same. */
  restart(): void {
    this.#isDiverged = false;
    this.#received = 0;
    this.#toldWritten = -1;
    this.#toldDurable = -1;
    this.#tellDue = false;
  }

  /** Acknowledges what has been written since it did last. */
  flush(): void {
    const { configurations, sink, isPrimary, self } = this.#replica;
    const { primary, epoch } = configurations;
    if (isPrimary || !primary || this.#received === 0 || configurations.isOutdated) return;
    const { written, durable } = this;
    const isNews = written !== this.#toldWritten || durable !== this.#toldDurable;
    if (!isNews && !this.#tellDue) return;
    this.#toldWritten = written;
    this.#toldDurable = durable;
    this.#tellDue = false;
    sink.send(primary.disk, [
      messageTable.appended.number,
      self.incarnation,
      epoch,
      written,
      durable,
      configurations.memberVersion,
    ]);
  }

  /** Whether the record is there that the new ones are to follow; else the primary is told where to look. */
  #follows(from: DiskId, epoch: number, index: number): boolean {
    const { log } = this.#replica;
    // Before the log is only what a snapshot has: it is committed, and the primary's, unless somebody has accepted a loss.
    if (index < log.base.index) {
      this.#committedHere(from, log.base);
      return false;
    }
    if (index <= log.lastIndex && log.epochAt(index) === epoch) return true;
    const common = log.lastNotAbove(epoch, index);
    const isBelow = common.epoch <= epoch;
    this.#mismatch(from, isBelow ? common : { epoch: 0, index: 0 });
    return false;
  }

  /** Those that are not there yet, after cutting off what contradicts them; null when the log cannot be mended. */
  #reconcile(from: DiskId, records: readonly LogRecord[]): LogRecord[] | null {
    const { log, applying, sink, configurations, self } = this.#replica;
    for (let i = 0; i < records.length; i++) {
      const { index, epoch } = records[i]!;
      if (index <= log.base.index || (index <= log.lastIndex && log.epochAt(index) === epoch)) continue;
      if (index <= log.lastIndex) {
        if (index <= applying.commitIndex) {
          if (configurations.inSync.includes(self.disk) && !configurations.isAmnesiac) {
            sink.failed(
              `record ${index} of epoch ${epoch} contradicts one that is committed here: run "dvs instance recover", or remove this replica's disk`,
            );
            return null;
          }
          // Somebody has accepted the loss of what this log has: it begins anew.
          this.#committedHere(from, { epoch: log.epochAt(index)!, index });
          return null;
        }
        log.truncateAfter(index - 1);
        this.#received = Math.min(this.#received, index - 1);
        this.#replica.reads.truncated(index - 1);
      }
      return i === 0 ? (records as LogRecord[]) : records.slice(i);
    }
    return [];
  }

  /** Either that is in the primary's log, too, or a snapshot is to take the place of all that is here. */
  #committedHere(to: DiskId, position: Position): void {
    this.#isDiverged = true;
    this.#mismatch(to, position);
  }

  #mismatch(to: DiskId, { epoch, index }: Position): void {
    const { sink, configurations } = this.#replica;
    const committed = this.#isDiverged ? 1 : 0;
    sink.send(to, [messageTable.mismatch.number, configurations.epoch, epoch, index, committed]);
  }
}
