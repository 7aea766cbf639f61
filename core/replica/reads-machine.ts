/**
 * When a read may be evaluated here. Carries rule 5 of DESIGN.md section 5 (CRAQ, Terrace and Freedman 2009):
 *
 *   primary     while it is alive, when it has applied what is committed: nothing else is acknowledged
 *   backup      with a read lease: at once if nothing that is prepared and not applied touches what is read, else
 *               when that is applied
 *   others      when they have applied what the primary, alive, says is committed
 *
 * The host evaluates it in the step in which it is told, so that the state is that of one index.
 */
import type { DiskId } from "./configuration.ts";
import { messageTable, type ReplicaMessage } from "./messages.ts";
import type { LogRecord } from "./record.ts";
import type { Replica } from "./replica.ts";
import type { RefusalReason } from "./sink.ts";
import { keyBuckets, readsWaitingMax } from "./timings.ts";
import { textOf } from "./writes-machine.ts";

interface Waiting {
  ticket: number;
  /** Null: all there is. */
  buckets: readonly number[] | null;
  sinceMs: number;
}

export class ReadsMachine {
  readonly #replica: Replica;
  /** Per bucket the last record that may change it; and the last that may change any. */
  readonly #prepared = new Float64Array(keyBuckets);
  #preparedAll = 0;

  /** Answered once that is applied. */
  #applying: { index: number; read: Waiting }[] = [];
  /** The primary is to say what is committed: not yet asked, and asked. */
  #unasked: Waiting[] = [];
  #asked: { ticket: number; atMs: number; reads: Waiting[] } | null = null;
  #askTicket = 0;
  /** As the primary: others' questions that came while it was not alive. */
  readonly #questions = new Map<DiskId, { incarnation: string; ticket: number }>();

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  get waiting(): number {
    return this.#applying.length + this.#unasked.length + (this.#asked?.reads.length ?? 0);
  }

  read(ticket: number, buckets: readonly number[] | null): void {
    const { nowMs, isRetiring } = this.#replica;
    if (isRetiring) return this.#refuse(ticket, "stopping");
    if (this.waiting >= readsWaitingMax) return this.#refuse(ticket, "busy");
    this.#decide({ ticket, buckets, sinceMs: nowMs });
  }

  /** They are in the log, and not acknowledged yet. */
  prepared(records: readonly LogRecord[]): void {
    for (const record of records) {
      const buckets = this.#replica.sink.touched(record);
      if (!buckets) this.#preparedAll = record.index;
      else for (const bucket of buckets) this.#prepared[bucket] = record.index;
    }
  }

  /** Records above are not there any more. */
  truncated(index: number): void {
    for (let i = 0; i < keyBuckets; i++) if (this.#prepared[i]! > index) this.#prepared[i] = index;
    this.#preparedAll = Math.min(this.#preparedAll, index);
  }

  /** What is in the log was not looked at: all of it may touch anything. */
  untrusted(): void {
    this.#preparedAll = this.#replica.log.lastIndex;
  }

  /** More is applied. */
  applied(): void {
    if (this.#applying.length === 0) return;
    const { applying, following } = this.#replica;
    if (!following.isSame) return;
    const { appliedIndex } = applying;
    const waiting: { index: number; read: Waiting }[] = [];
    for (const entry of this.#applying) {
      if (entry.index <= appliedIndex) this.#answer(entry.read.ticket);
      else waiting.push(entry);
    }
    this.#applying = waiting;
  }

  /** Role, lease or primary has changed: what waits for one may go on. */
  review(): void {
    const { isEstablished, leases, promises } = this.#replica;
    if (isEstablished && leases.isAlive) this.#answerQuestions();
    const mayDecide = isEstablished ? leases.isAlive : promises.hasReadLease;
    if (!mayDecide || (this.#unasked.length === 0 && !this.#asked)) return;
    const reads = [...(this.#asked?.reads ?? []), ...this.#unasked];
    this.#asked = null;
    this.#unasked = [];
    for (const read of reads) this.#decide(read);
  }

  handleReadIndex(from: DiskId, [, incarnation, ticket]: ReplicaMessage<"readIndex">): void {
    const { isPrimary } = this.#replica;
    if (!isPrimary) return;
    this.#questions.set(from, { incarnation, ticket });
    this.review();
  }

  handleReadIndexed(
    from: DiskId,
    [, incarnation, ticket, epoch, index]: ReplicaMessage<"readIndexed">,
  ): void {
    const { configurations, self } = this.#replica;
    const asked = this.#asked;
    if (
      !asked ||
      incarnation !== self.incarnation ||
      asked.ticket !== ticket ||
      from !== configurations.primary?.disk
    )
      return;
    if (!configurations.accepts(epoch)) return;
    this.#asked = null;
    for (const read of asked.reads) this.#when(index, read);
    if (this.#unasked.length > 0) this.#replica.wantFlush();
  }

  tick(): void {
    const { nowMs, timings } = this.#replica;
    const isLate = (read: Waiting) => this.#replica.isLate(read.sinceMs);
    if (this.#applying.some(({ read }) => isLate(read))) {
      for (const { read } of this.#applying) if (isLate(read)) this.#refuse(read.ticket, "no-primary");
      this.#applying = this.#applying.filter(({ read }) => !isLate(read));
    }
    this.#unasked = this.#withoutLate(this.#unasked);
    if (!this.#asked) {
      if (this.#unasked.length > 0) this.#replica.wantFlush();
      return;
    }
    this.#asked.reads = this.#withoutLate(this.#asked.reads);
    if (nowMs < this.#asked.atMs + timings.retryMs) return;
    this.#unasked = [...this.#asked.reads, ...this.#unasked];
    this.#asked = null;
    if (this.#unasked.length > 0) this.#replica.wantFlush();
  }

  /** Asks the primary, for all reads that wait for that. */
  flush(): void {
    const { isPrimary, configurations, sink, nowMs, self } = this.#replica;
    const { primary } = configurations;
    if (isPrimary || this.#asked || this.#unasked.length === 0 || !primary || configurations.isOutdated)
      return;
    this.#asked = { ticket: ++this.#askTicket, atMs: nowMs, reads: this.#unasked };
    this.#unasked = [];
    sink.send(primary.disk, [messageTable.readIndex.number, self.incarnation, this.#askTicket]);
  }

  /** Another primary: it is asked anew. */
  primaryChanged(): void {
    this.#questions.clear();
    if (!this.#asked) return;
    this.#unasked = [...this.#asked.reads, ...this.#unasked];
    this.#asked = null;
    this.#replica.wantFlush();
  }

  #decide(read: Waiting): void {
    const { isPrimary, isEstablished, leases, promises, configurations, applying } = this.#replica;
    // A backup may have applied, and told of, all that is committed.
    if (isPrimary && isEstablished && leases.isAlive) return this.#when(applying.commitIndex, read);
    if (!isPrimary && promises.hasReadLease && !configurations.isOutdated) {
      return this.#when(this.#dirtyTo(read.buckets), read);
    }
    this.#unasked.push(read);
    this.#replica.wantFlush();
  }

  #when(index: number, read: Waiting): void {
    const { applying, following } = this.#replica;
    if (index <= applying.appliedIndex && following.isSame) this.#answer(read.ticket);
    else this.#applying.push({ index, read });
  }

  /** The last record that may touch any of it. */
  #dirtyTo(buckets: readonly number[] | null): number {
    if (!buckets) return this.#replica.log.lastIndex;
    let index = this.#preparedAll;
    for (const bucket of buckets) index = Math.max(index, this.#prepared[bucket] ?? 0);
    return index;
  }

  #answerQuestions(): void {
    const { sink, configurations, applying } = this.#replica;
    for (const [disk, { incarnation, ticket }] of this.#questions) {
      sink.send(disk, [
        messageTable.readIndexed.number,
        incarnation,
        ticket,
        configurations.epoch,
        applying.commitIndex,
      ]);
    }
    this.#questions.clear();
  }

  #withoutLate(reads: Waiting[]): Waiting[] {
    const isLate = (read: Waiting) => this.#replica.isLate(read.sinceMs);
    if (!reads.some(isLate)) return reads;
    for (const read of reads) if (isLate(read)) this.#refuse(read.ticket, "no-primary");
    return reads.filter((read) => !isLate(read));
  }

  #answer(ticket: number): void {
    this.#replica.sink.answerRead(ticket, { type: "ok", index: this.#replica.applying.appliedIndex });
  }
  #refuse(ticket: number, reason: RefusalReason): void {
    this.#replica.sink.answerRead(ticket, { type: "refused", reason, text: textOf(reason) });
  }
}
