/** The order of records for kernels of one host process: tests, benchmarks, an instance that is nowhere else. */
import type { KernelRecord, OrderedRecord, RecordLog } from "./view.ts";

export class MemoryRecordLog implements RecordLog {
  readonly #records: OrderedRecord[] = [];
  readonly #wakes = new Set<() => void>();

  propose(id: string, record: KernelRecord): Promise<number> {
    const index = this.#records.length + 1;
    this.append({ index, id, record });
    return Promise.resolve(index);
  }

  /** One that somebody else has ordered, behind all that are here. */
  append(record: OrderedRecord): void {
    this.#records.push(record);
    for (const wake of this.#wakes) wake();
  }

  async *follow(signal: AbortSignal): AsyncIterable<OrderedRecord> {
    let wake = () => {};
    const onWake = () => wake();
    this.#wakes.add(onWake);
    signal.addEventListener("abort", onWake);
    try {
      for (let next = 0; !signal.aborted;) {
        const record = this.#records[next];
        if (record) {
          next++;
          yield record;
        } else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#wakes.delete(onWake);
      signal.removeEventListener("abort", onWake);
    }
  }
}
