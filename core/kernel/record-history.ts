/**
 * The records of one instance as a coordinator or an agent keeps them: the View as of some index, and every record
 * after it. Whoever has read up to an index gets what follows; whoever begins, or is too far behind, gets the View
 * first. `fold` moves the oldest records into that View, when nobody needs them one by one any more.
 */
import type { OrderedRecord } from "./view.ts";
import type { RecordBatch } from "./record-schema.ts";
import { ViewMachine, type ViewSnapshot } from "./view-machine.ts";

export class RecordHistory {
  /** After the last record. */
  readonly view: ViewMachine;
  /** Before the first of `#records`. */
  readonly #base: ViewMachine;
  #records: OrderedRecord[] = [];

  constructor(snapshot?: ViewSnapshot) {
    this.view = snapshot ? ViewMachine.from(snapshot) : new ViewMachine();
    this.#base = snapshot ? ViewMachine.from(snapshot) : new ViewMachine();
  }

  get baseIndex(): number {
    return this.#base.index;
  }
  get length(): number {
    return this.#records.length;
  }

  /** False for one that is in already. */
  append(record: OrderedRecord): boolean {
    if (record.index <= this.view.index) return false;
    this.view.apply(record);
    this.#records.push(record);
    return true;
  }

  /** What follows `index`, at most `max` records. */
  after(index: number, max = Infinity): RecordBatch {
    const snapshot = index < this.#base.index ? this.#base.snapshot() : null;
    const start = snapshot ? 0 : this.#records.findIndex((record) => record.index > index);
    return { snapshot, records: start < 0 ? [] : this.#records.slice(start, start + max) };
  }

  /** The View after the oldest `count` records, and those. */
  prefix(count: number): { snapshot: ViewSnapshot; records: OrderedRecord[] } {
    const view = ViewMachine.from(this.#base.snapshot());
    const records = this.#records.slice(0, count);
    for (const record of records) view.apply(record);
    return { snapshot: view.snapshot(), records };
  }

  /** Records up to `index` are kept as a View only. */
  fold(index: number): void {
    const kept = this.#records.findIndex((record) => record.index > index);
    const count = kept < 0 ? this.#records.length : kept;
    for (const record of this.#records.splice(0, count)) this.#base.apply(record);
  }

  /** How many records there are up to `index`. */
  countUpTo(index: number): number {
    const after = this.#records.findIndex((record) => record.index > index);
    return after < 0 ? this.#records.length : after;
  }
}
