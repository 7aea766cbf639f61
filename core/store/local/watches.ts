/**
 * Watches over a table. A watcher holds no queue: it has a revision up to which it has delivered, and reads on from
 * the table when something was written. So a slow one costs no memory, and one that slept through a compaction is
 * told so.
 */
import { StoreError, type WatchBatch } from "../store.ts";
import type { Change, Table } from "./table.ts";

/** Changes read at a time; bounds how long one read holds the event loop. */
const pageRows = 500;

export class Watches {
  readonly #table: Table;
  readonly #sleepers = new Set<() => void>();
  #closed = false;

  constructor(table: Table) {
    this.#table = table;
  }

  /** To be called after every write. */
  wake(): void {
    const sleepers = [...this.#sleepers];
    this.#sleepers.clear();
    for (const wake of sleepers) wake();
  }

  close(): void {
    this.#closed = true;
    this.wake();
  }

  async *watch(prefix: string, fromRevision: number, signal: AbortSignal): AsyncGenerator<WatchBatch> {
    const table = this.#table;
    let next = fromRevision;
    while (!signal.aborted) {
      if (this.#closed) throw new StoreError("UNAVAILABLE", `Cannot watch ${prefix}: the store is closed.`);
      if (next <= table.compacted) throw compacted(prefix, next, table.compacted + 1);
      if (next <= table.revision) {
        const page = table.changes(prefix, next, pageRows);
        for (const batch of batchesOf(page.changes)) {
          if (signal.aborted) return;
          yield batch;
        }
        next = page.through + 1;
      } else {
        await this.#sleep(signal);
      }
    }
  }

  #sleep(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#sleepers.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#sleepers.add(done);
      signal.addEventListener("abort", done);
    });
  }
}

export function compacted(prefix: string, wanted: number, oldest: number): StoreError {
  return new StoreError(
    "COMPACTED",
    `Cannot read ${prefix} from revision ${wanted}: history before revision ${oldest} was forgotten. List again and go on from there.`,
  );
}

function batchesOf(changes: Change[]): WatchBatch[] {
  const batches: WatchBatch[] = [];
  for (const { revision, key, kv } of changes) {
    let batch = batches.at(-1);
    if (batch?.revision !== revision) batches.push((batch = { revision, events: [] }));
    batch.events.push({ type: kv ? "put" : "delete", key, kv });
  }
  return batches;
}
