/**
 * What has been committed and acknowledged in a simulated instance, known to nobody in it. Each replica's deeds are
 * judged by it as they happen.
 */
import { nextEra } from "../../../core/replica/era.ts";
import type { Configuration } from "../../../core/replica/configuration.ts";
import { type LogRecord, recordKinds } from "../../../core/replica/record.ts";

interface Committed {
  epoch: number;
  /** With the head: what is equal here is equal in all bytes but for a collision. */
  checksum: number;
  timeMs: number;
}

export class Ledger {
  /** By index; 0 is nothing. */
  readonly #committed: (Committed | undefined)[] = [];
  /** Client and sequence → the one index at which it was carried out. */
  readonly #executed = new Map<string, number>();
  /** Client → where its removal is. */
  readonly #removed = new Map<string, number>();
  /** Told once of each record, unless it was lost. */
  onCommitted: ((record: LogRecord) => void) | undefined;
  /** The highest that a client was told of. */
  acknowledged = 0;
  /** Of the configuration in the store. */
  #epoch = 0;
  /** After an accepted loss: the log that goes on, and the epoch in which it does. */
  #survivor: { epochs: readonly (number | null)[]; epoch: number } | null = null;
  /** Index → the level at which its operation was carried out, by whomever. */
  readonly #levels = new Map<number, number>();

  /** The highest that somebody applied. */
  get committed(): number {
    return this.#committed.length - 1;
  }

  applied(record: LogRecord, by: string): void {
    const { index, epoch } = record;
    const known = this.#committed[index];
    const sum = checksum(record);
    if (known) {
      if (known.epoch === epoch && known.checksum === sum) return;
      assert(false, `${by} applies ${show(record)} at ${index}, where e${known.epoch} ${known.checksum} was`);
    }
    assert(index === Math.max(1, this.#committed.length), `${by} applies ${index} after ${this.committed}`);
    this.#mustSurvive(record, by);
    const before = this.#committed[index - 1];
    if (before) {
      assert(epoch >= before.epoch, `${by} applies ${show(record)} after an epoch ${before.epoch}`);
      assert(
        record.timeMs >= before.timeMs,
        `${by} applies ${show(record)}, which is before its predecessor`,
      );
    }
    if (record.kind === recordKinds.clientRemoved && !this.#removed.has(record.client))
      this.#removed.set(record.client, index);
    this.onCommitted?.(record);
    this.#committed[index] = { epoch, checksum: sum, timeMs: record.timeMs };
  }

  /** A person goes on from this log, which begins behind `base`. What it lacks is lost, and nothing else. How much. */
  accept(base: number, epochs: readonly (number | null)[], epoch: number): number {
    this.#epoch = epoch;
    let kept = Math.min(this.committed, base);
    while (kept < this.committed && epochs[kept + 1] === this.#committed[kept + 1]!.epoch) kept++;
    const lost = this.committed - kept;
    this.#committed.length = Math.min(this.#committed.length, kept + 1);
    this.acknowledged = Math.min(this.acknowledged, kept);
    for (const [call, index] of this.#executed) if (index > kept) this.#executed.delete(call);
    for (const [client, index] of this.#removed) if (index > kept) this.#removed.delete(client);
    for (const index of this.#levels.keys()) if (index > kept) this.#levels.delete(index);
    this.#survivor = { epochs, epoch };
    return lost;
  }

  /** In which nobody serves any more: those that are given up have nothing to say before they have learned anew. */
  get epochMin(): number {
    return this.#survivor?.epoch ?? 0;
  }

  #mustSurvive(record: LogRecord, by: string): void {
    if (!this.#survivor) return;
    const { epochs, epoch } = this.#survivor;
    const isOfIt = record.index < epochs.length && record.epoch === epochs[record.index];
    assert(
      isOfIt || (record.index >= epochs.length && record.epoch >= epoch),
      `${by} applies ${show(record)}, which whoever went on in epoch ${epoch} has not`,
    );
  }

  /** A replica has carried it out, and not found it done already. */
  executed(record: LogRecord, level: number, by: string): void {
    const levelThere = this.#levels.get(record.index) ?? level;
    assert(level === levelThere, `${by} carries ${show(record)} out at level ${level}, not ${levelThere}`);
    this.#levels.set(record.index, level);
    // What the primary writes by itself has no number.
    if (record.client === "") return;
    const call = `${record.client}/${record.sequence}`;
    const index = this.#executed.get(call);
    if (index === record.index) return;
    assert(index === undefined, `${by} carries out ${call} at ${record.index}, and it was at ${index}`);
    const gone = this.#removed.get(record.client) ?? Infinity;
    assert(gone > record.index, `${by} carries out ${call} at ${record.index} after its client was removed`);
    this.#executed.set(call, record.index);
  }

  /** A client is told that its call was carried out. */
  acknowledge(call: string, index: number, by: string): void {
    const executed = this.#executed.get(call);
    assert(executed === index, `${by} says that ${call} was carried out at ${index}; it was at ${executed}`);
    assert(index <= this.committed, `${by} acknowledges ${index}, and ${this.committed} is committed`);
    this.acknowledged = Math.max(this.acknowledged, index);
  }

  /** A replica takes up its service as the primary. */
  serves(epoch: number, last: number, by: string): void {
    if (last >= this.acknowledged && epoch <= this.#epoch) return;
    assert(epoch <= this.#epoch, `${by} serves in epoch ${epoch}, which the store has not seen`);
    assert(false, `${by} serves with records up to ${last}; ${this.acknowledged} was acknowledged`);
  }

  /** In the store. */
  changed(before: Configuration | null, after: Configuration): void {
    this.#epoch = after.epoch;
    if (!before) return;
    const same =
      before.primary.disk === after.primary.disk && before.primary.incarnation === after.primary.incarnation;
    // Amnesiacs go on in an era of their own.
    const isNext = after.epoch === before.epoch + 1 || after.epoch === nextEra(before.epoch);
    assert(
      same ? after.epoch >= before.epoch : isNext,
      `epoch ${before.epoch} is followed by ${after.epoch} ${same ? "of the same primary" : ""}`,
    );
    assert(
      same || before.inSync.includes(after.primary.disk),
      `${after.primary.disk} becomes the primary and was not in sync`,
    );
  }
}

function checksum(record: LogRecord): number {
  const { bytes } = record;
  return (bytes[4]! | (bytes[5]! << 8) | (bytes[6]! << 16) | (bytes[7]! << 24)) >>> 0;
}

export function show(record: LogRecord): string {
  return `${record.index}e${record.epoch}k${record.kind}${record.client === "" ? "" : ` ${record.client}/${record.sequence}`}`;
}

export function assert(holds: unknown, message: string): asserts holds {
  if (!holds) throw new Error(`invariant broken: ${message}`);
}
