/**
 * Writes of clients: drawn up by the primary, handed on to it by others. Carries of DESIGN.md section 5:
 *
 *   rule 1   answered when the record is committed and applied, with the result of applying it
 *   rule 6   a retry finds the result that is kept, or the record that is under way, and makes no second one
 *   rule 7   below min-in-sync, or with a full disk, refused at once; so is what would wait without bound; a sync is
 *            answered when what is before it is on every disk, also where the policy is `replicated`
 *
 * A replica keeps each write of its own clients until it is answered, and gives it to each primary that comes: sent
 * twice, it is carried out once. What is still unanswered after its time is `uncertain` when it was ever sent: it may
 * be carried out yet, and the same request may be made again anywhere.
 */
import type { DiskId } from "./configuration.ts";
import { type ForwardedAnswer, type ForwardedWrite, messageTable, type ReplicaMessage } from "./messages.ts";
import { type LogRecord, type RecordKind, recordKinds } from "./record.ts";
import type { Replica } from "./replica.ts";
import type { RefusalReason, WriteOutcome } from "./sink.ts";
import { appendBytesMax, uncommittedBytesMax, writesWaitingMax } from "./timings.ts";

export interface WriteRequest {
  /** Of the host; answered once. */
  ticket: number;
  /** Empty: nobody repeats it. */
  client: string;
  sequence: number;
  /** The client has the results of all below; 1 at its begin. */
  ackedBelow: number;
  kind: RecordKind;
  module: string;
  operation: Uint8Array;
}

interface Write extends WriteRequest {
  sinceMs: number;
  /** How often it was given to a primary, and when last. */
  sent: number;
  /** In `#unsent`. */
  queued: boolean;
  sentMs: number;
}

/** Who is told when a record is applied: a client of this replica (`disk` null), or another replica. */
interface Waiter {
  disk: DiskId | null;
  /** Of the other replica; empty for this one. */
  incarnation: string;
  ticket: number;
}

const nothing = new Uint8Array(0);
/** Beside the operation, and beside the result. */
const forwardOverheadBytes = 96;
const answerOverheadBytes = 32;

export class WritesMachine {
  readonly #replica: Replica;
  /** Of this replica's clients, not answered. Oldest first. */
  readonly #writes = new Map<number, Write>();
  /** Not yet given to the primary. */
  #unsent: Write[] = [];

  // As the primary
  readonly #waiters = new Map<number, Waiter[]>();
  /** Records under way: client → sequence → index. */
  readonly #under = new Map<string, Map<number, number>>();
  #uncommittedBytes = 0;
  /** Carried out, and not yet on all disks. In the order of their indices. */
  #syncs: { index: number; waiters: Waiter[] }[] = [];
  /** Others' writes that came before it was established. */
  #early: { from: DiskId; incarnation: string; write: ForwardedWrite }[] = [];
  /** Disk → what it is told at the end of the turn. */
  readonly #answers = new Map<DiskId, { incarnation: string; answers: ForwardedAnswer[] }>();

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  get waiting(): number {
    return this.#writes.size;
  }

  write(request: WriteRequest): void {
    const { nowMs } = this.#replica;
    const { ticket } = request;
    if (this.#replica.isRetiring)
      return this.#replica.sink.answer(ticket, refusal("stopping", textOf("stopping")));
    if (this.#writes.size >= writesWaitingMax) {
      return this.#replica.sink.answer(
        ticket,
        refusal("busy", `${writesWaitingMax} writes wait here already`),
      );
    }
    const write: Write = {
      ...request,
      sinceMs: nowMs,
      sent: 0,
      queued: false,
      sentMs: -Infinity,
    };
    this.#writes.set(ticket, write);
    if (this.#replica.isEstablished) this.#submitOwn(write);
    else {
      this.#queue(write);
    }
  }

  /** A primary is there, this replica or another: it gets all that is not answered. */
  primaryChanged(): void {
    this.#forgetAsPrimary();
    for (const write of this.#writes.values()) {
      if (write.sent > 0 && !isRepeatable(write)) this.#answerOwn(write.ticket, { type: "unknown" });
    }
    for (const write of this.#writes.values()) this.#queue(write);
  }

  /** This replica serves from now on. */
  established(): void {
    const own = this.#unsent;
    this.#unsent = [];
    for (const write of own) write.queued = false;
    for (const write of own) if (this.#writes.get(write.ticket) === write) this.#submitOwn(write);
    const early = this.#early;
    this.#early = [];
    for (const { from, incarnation, write } of early) this.#submitForwarded(from, incarnation, write);
  }

  handleForward(from: DiskId, [, incarnation, writes]: ReplicaMessage<"forward">): void {
    const { isEstablished, isPrimary, configurations } = this.#replica;
    if (!isPrimary || configurations.isOutdated) return;
    for (const write of writes) {
      if (!mayBeForwarded.has(write[4])) continue;
      if (isEstablished) this.#submitForwarded(from, incarnation, write);
      else if (this.#early.length < writesWaitingMax) this.#early.push({ from, incarnation, write });
    }
  }

  handleForwarded([, incarnation, answers]: ReplicaMessage<"forwarded">): void {
    if (incarnation !== this.#replica.self.incarnation) return;
    for (const [ticket, outcome, result, index] of answers) {
      const write = this.#writes.get(ticket);
      if (!write) continue;
      if (outcome === "ok") this.#answerOwn(ticket, { type: "ok", result, index });
      else if (outcome === "unknown") this.#answerOwn(ticket, { type: "unknown" });
      else this.#refuseOwn(ticket, outcome, 1);
    }
  }

  /** As the primary: a record has been carried out; `done` null: nobody knows with which result. */
  applied(record: LogRecord, done: { result: Uint8Array; index: number } | null): void {
    const { index } = record;
    const waiters = this.#waiters.get(index);
    if (waiters === undefined) return;
    this.#uncommittedBytes -= record.bytes.length;
    this.#waiters.delete(index);
    this.#forgetUnder(record.client, record.sequence);
    if (record.kind === recordKinds.sync) {
      this.#syncs.push({ index, waiters });
      return this.#answerSyncs();
    }
    const outcome: WriteOutcome = done ? { type: "ok", ...done } : { type: "unknown" };
    for (const waiter of waiters) this.#tell(waiter, outcome);
  }

  tick(): void {
    const { nowMs, timings, isPrimary } = this.#replica;
    for (const write of this.#writes.values()) {
      // The oldest come first.
      if (!this.#replica.isLate(write.sinceMs)) break;
      this.#answerOwn(
        write.ticket,
        write.sent > 0 ? { type: "uncertain" } : refusal("no-primary", textOf("no-primary")),
      );
    }
    if (isPrimary || this.#writes.size === 0) return;
    for (const write of this.#writes.values()) {
      const isDue = write.sent > 0 && nowMs >= write.sentMs + 2 * timings.retryMs;
      if (isDue && isRepeatable(write)) this.#queue(write);
    }
    if (this.#unsent.length > 0) this.#replica.wantFlush();
  }

  flush(): void {
    const { isPrimary, configurations, sink } = this.#replica;
    this.#answerSyncs();
    for (const [disk, { incarnation, answers }] of this.#answers) {
      for (const batch of batches(answers, ([, , result]) => result.length + answerOverheadBytes)) {
        sink.send(disk, [messageTable.forwarded.number, incarnation, batch]);
      }
    }
    this.#answers.clear();
    const { primary } = configurations;
    if (isPrimary || this.#unsent.length === 0 || !primary || configurations.isOutdated) return;
    this.#forward(primary.disk);
  }

  #queue(write: Write): void {
    if (write.queued) return;
    write.queued = true;
    this.#unsent.push(write);
    this.#replica.wantFlush();
  }

  #submitOwn(write: Write): void {
    const { ticket, client, sequence, ackedBelow, kind, module, operation } = write;
    this.#submit(
      { disk: null, incarnation: "", ticket },
      client,
      sequence,
      ackedBelow,
      kind,
      module,
      operation,
    );
  }
  #submitForwarded(disk: DiskId, incarnation: string, write: ForwardedWrite): void {
    const [ticket, client, sequence, ackedBelow, kind, module, operation] = write;
    this.#submit(
      { disk, incarnation, ticket },
      client,
      sequence,
      ackedBelow,
      kind as RecordKind,
      module,
      operation,
    );
  }

  /** The primary takes a write: answers it, joins it with the record that is under way, or draws one up. */
  #submit(
    waiter: Waiter,
    client: string,
    sequence: number,
    ackedBelow: number,
    kind: RecordKind,
    module: string,
    operation: Uint8Array,
  ): void {
    const { sessions, replication } = this.#replica;
    const isOnce = client !== "" && kind === recordKinds.operation;
    if (isOnce) {
      const under = this.#under.get(client)?.get(sequence);
      if (under !== undefined) return this.#join(under, waiter);
      const known = sessions.look(client, sequence, ackedBelow);
      if (known.type === "done")
        return this.#tell(waiter, { type: "ok", result: known.result, index: known.index });
      if (known.type === "gone") return this.#tell(waiter, { type: "unknown" });
      if (known.type === "beyond") return this.#refuse(waiter, "busy");
    }
    if (kind === recordKinds.sync && this.#isAllSynced()) return this.#tell(waiter, synced(this.#replica));
    const reason = this.#refusalOf(operation);
    if (reason) return this.#refuse(waiter, reason);
    const record = replication.append({ kind, client, sequence, ackedBelow, module, operation });
    this.#uncommittedBytes += record.bytes.length;
    this.#waiters.set(record.index, [waiter]);
    if (waiter.disk === null) {
      const own = this.#writes.get(waiter.ticket);
      if (own) own.sent++;
    }
    if (isOnce) {
      let sequences = this.#under.get(client);
      if (!sequences) this.#under.set(client, (sequences = new Map()));
      sequences.set(sequence, record.index);
    }
  }

  /** All that was acknowledged is on every disk already, as it always is where the policy is `fsync`. */
  #isAllSynced(): boolean {
    const { leases, replication, applying } = this.#replica;
    return leases.isAlive && replication.durable >= applying.commitIndex;
  }

  #answerSyncs(): void {
    if (this.#syncs.length === 0) return;
    const { durable } = this.#replica.replication;
    while (this.#syncs[0] && this.#syncs[0].index <= durable) {
      for (const waiter of this.#syncs.shift()!.waiters) this.#tell(waiter, synced(this.#replica));
    }
  }

  #refusalOf(operation: Uint8Array): RefusalReason | null {
    const { policy, configurations, isFull, isRetiring } = this.#replica;
    if (isRetiring) return "stopping";
    if (configurations.inSync.length < Math.min(policy.minInSync, policy.replicas))
      return "below-min-in-sync";
    if (isFull) return "disk-full";
    return this.#uncommittedBytes + operation.length > uncommittedBytesMax ? "busy" : null;
  }

  #join(index: number, waiter: Waiter): void {
    const waiters = this.#waiters.get(index);
    if (!waiters) return;
    const isSame = ({ disk, incarnation, ticket }: Waiter) =>
      disk === waiter.disk && incarnation === waiter.incarnation && ticket === waiter.ticket;
    if (!waiters.some(isSame)) waiters.push(waiter);
    if (waiter.disk === null) {
      const own = this.#writes.get(waiter.ticket);
      if (own) own.sent++;
    }
  }

  #forgetUnder(client: string, sequence: number): void {
    const sequences = this.#under.get(client);
    if (sequences?.delete(sequence) && sequences.size === 0) this.#under.delete(client);
  }

  #tell({ disk, incarnation, ticket }: Waiter, outcome: WriteOutcome): void {
    if (disk === null) return this.#answerOwn(ticket, outcome);
    let told = this.#answers.get(disk);
    // Another life of it waits for nothing that this one has asked.
    if (told?.incarnation !== incarnation) this.#answers.set(disk, (told = { incarnation, answers: [] }));
    const { answers } = told;
    if (outcome.type === "ok") answers.push([ticket, "ok", outcome.result, outcome.index]);
    else if (outcome.type === "unknown") answers.push([ticket, "unknown", nothing, 0]);
    else if (outcome.type === "refused") answers.push([ticket, outcome.reason, nothing, 0]);
    this.#replica.wantFlush();
  }

  /** What was given to a primary more often than it was refused may have been taken by one of them. */
  #refuseOwn(ticket: number, reason: RefusalReason, refusals: number): void {
    const sent = this.#writes.get(ticket)?.sent ?? 0;
    this.#answerOwn(ticket, sent > refusals ? { type: "uncertain" } : refusal(reason, textOf(reason)));
  }

  #refuse(waiter: Waiter, reason: RefusalReason): void {
    if (waiter.disk === null) return this.#refuseOwn(waiter.ticket, reason, 0);
    this.#tell(waiter, refusal(reason, textOf(reason)));
  }

  #answerOwn(ticket: number, outcome: WriteOutcome): void {
    if (this.#writes.delete(ticket)) this.#replica.sink.answer(ticket, outcome);
  }

  #forward(to: DiskId): void {
    const { nowMs, sink, self } = this.#replica;
    const writes: ForwardedWrite[] = [];
    for (const write of this.#unsent) {
      write.queued = false;
      if (this.#writes.get(write.ticket) !== write) continue;
      const { ticket, client, sequence, ackedBelow, kind, module, operation } = write;
      writes.push([ticket, client, sequence, ackedBelow, kind, module, operation]);
      write.sent++;
      write.sentMs = nowMs;
    }
    this.#unsent = [];
    for (const batch of batches(writes, (write) => write[6].length + forwardOverheadBytes)) {
      sink.send(to, [messageTable.forward.number, self.incarnation, batch]);
    }
  }

  #forgetAsPrimary(): void {
    this.#waiters.clear();
    this.#under.clear();
    this.#answers.clear();
    this.#early = [];
    this.#syncs = [];
    this.#uncommittedBytes = 0;
  }
}

/** Other kinds a primary draws up by itself. */
const mayBeForwarded: ReadonlySet<number> = new Set([
  recordKinds.operation,
  recordKinds.clientRemoved,
  recordKinds.sync,
]);

/** In order, each at most appendBytesMax, or one. */
function batches<T>(items: readonly T[], bytesOf: (item: T) => number): T[][] {
  const all: T[][] = [];
  let bytes = Infinity;
  for (const item of items) {
    const more = bytesOf(item);
    if (bytes + more > appendBytesMax) {
      all.push([]);
      bytes = 0;
    }
    all.at(-1)!.push(item);
    bytes += more;
  }
  return all;
}

/** Carried out twice, it does no more than once. */
function isRepeatable({ client, kind }: Write): boolean {
  return client !== "" || kind !== recordKinds.operation;
}

function synced({ applying }: Replica): WriteOutcome {
  return { type: "ok", result: nothing, index: applying.appliedIndex };
}

function refusal(reason: RefusalReason, text: string): WriteOutcome {
  return { type: "refused", reason, text };
}

/** What a person is told. */
export function textOf(reason: RefusalReason): string {
  switch (reason) {
    case "no-primary":
      return "no replica of the instance serves as primary at the moment";
    case "below-min-in-sync":
      return "fewer replicas are in sync than --min-in-sync demands: writes wait until one is back";
    case "disk-full":
      return "the disk of the replica is full: make room on it";
    case "busy":
      return "too many operations are under way";
    case "stopping":
      return "the replica is being stopped";
  }
}
