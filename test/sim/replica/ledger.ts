/**
 * What has been committed and acknowledged in a simulated instance, known to nobody in it. Each replica's deeds are
 * judged by it as they happen.
 */
import type { Configuration } from "../../../core/replica/configuration.ts";
import { type LogRecord, recordKinds } from "../../../core/replica/record.ts";
import { decodeOperation } from "./sim-state.ts";
import type { Value } from "./history.ts";

interface Committed {
  epoch: number;
  /** With the head: what is equal here is equal in all bytes but for a collision. */
  checksum: number;
  timeMs: number;
  /** What it puts, if it puts something. */
  value: Value;
}

export class Ledger {
  /** By index; 0 is nothing. */
  readonly #committed: (Committed | undefined)[] = [];
  /** Client and sequence → the one index at which it was carried out. */
  readonly #executed = new Map<string, number>();
  readonly #removed = new Map<string, number>();
  /** Told in words. */
  onCommitted: ((what: string) => void) | undefined;
  /** The highest that a client was told of. */
  acknowledged = 0;
  /** Of the configuration in the store. */
  #epoch = 0;

  /** The highest that somebody applied. */
  get committed(): number {
    return this.#committed.length - 1;
  }

  applied(record: LogRecord, by: string): void {
    const { index, epoch } = record;
    const known = this.#committed[index];
    const sum = checksum(record);
    if (known) {
      const same = known.epoch === epoch && known.checksum === sum;
      assert(same, `${by} applies ${show(record)} at ${index}, where e${known.epoch} ${known.checksum} was`);
      return;
    }
    assert(index === Math.max(1, this.#committed.length), `${by} applies ${index} after ${this.committed}`);
    const before = this.#committed[index - 1];
    if (before) {
      assert(epoch >= before.epoch, `${by} applies ${show(record)} after an epoch ${before.epoch}`);
      assert(
        record.timeMs >= before.timeMs,
        `${by} applies ${show(record)}, which is before its predecessor`,
      );
    }
    const operation = record.kind === recordKinds.operation ? decodeOperation(record.operation) : null;
    const value = operation?.op === "put" ? operation.value : null;
    this.onCommitted?.(`commit ${show(record)}${operation ? ` ${operation.op} ${operation.key}` : ""}`);
    this.#committed[index] = { epoch, checksum: sum, timeMs: record.timeMs, value };
  }

  /** A replica has carried it out, and not found it done already. */
  executed(record: LogRecord, by: string): void {
    const call = `${record.client}/${record.sequence}`;
    const index = this.#executed.get(call) ?? record.index;
    assert(index === record.index, `${by} carries out ${call} at ${record.index}, and it was at ${index}`);
    const gone = this.#removed.get(record.client) ?? Infinity;
    assert(gone > record.index, `${by} carries out ${call} at ${record.index} after its client was removed`);
    this.#executed.set(call, index);
  }

  /** The value that this record put; throws where no record did. */
  valueAt(revision: number): Value {
    if (revision === 0) return null;
    const committed = this.#committed[revision];
    assert(committed?.value, `revision ${revision} was told, and is not of a put`);
    return committed.value;
  }

  /** `holds`: of the replica that says so, up to where its log goes. */
  acknowledge(index: number, by: string): void {
    assert(index <= this.committed, `${by} acknowledges ${index}, and ${this.committed} is committed`);
    this.acknowledged = Math.max(this.acknowledged, index);
  }

  /** A replica takes up its service as the primary. */
  serves(epoch: number, last: number, by: string): void {
    assert(
      last >= this.acknowledged,
      `${by} serves with records up to ${last}; ${this.acknowledged} was acknowledged`,
    );
    assert(epoch <= this.#epoch, `${by} serves in epoch ${epoch}, which the store has not seen`);
  }

  /** In the store. */
  changed(before: Configuration | null, after: Configuration): void {
    this.#epoch = after.epoch;
    if (!before) return;
    const same =
      before.primary.disk === after.primary.disk && before.primary.incarnation === after.primary.incarnation;
    assert(
      after.epoch === before.epoch + (same ? 0 : 1) || (same && after.epoch > before.epoch),
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
