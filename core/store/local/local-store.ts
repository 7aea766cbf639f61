/**
 * A store in this process: transactions, watches and leases over a table.
 *
 * Writes are collected and committed together, as one durable unit (for sqlite: one fsync), when `schedule` runs
 * what it was given; each still has its own result and its own revision, in the order of arrival. A write that
 * fails on its own (lease not found) leaves the others of its group alone.
 */
import type { Clock } from "../clock.ts";
import { holds } from "../compare.ts";
import { generationKey, generationOf, type Driver } from "../driver.ts";
import { StoreError } from "../store.ts";
import type {
  KeyValue,
  Operation,
  RangeOptions,
  RangeResult,
  StoreStatus,
  Txn,
  TxnResult,
} from "../store.ts";
import { Leases } from "./leases.ts";
import type { Table } from "./table.ts";
import { compacted, Watches } from "./watches.ts";

export interface LocalStoreOptions {
  clock: Clock;
  /** Runs the commit of a group, at once or later in this turn of the event loop. */
  schedule(commit: () => void): void;
}

/** Rows that compaction drops per turn of the event loop. */
const compactRows = 1_000;

interface Write {
  run(): unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

type Outcome = { value: unknown } | { error: StoreError };

export class LocalStore implements Driver {
  readonly #table: Table;
  readonly #options: LocalStoreOptions;
  readonly #watches: Watches;
  readonly #leases: Leases;
  #group: Write[] = [];
  #closed = false;

  constructor(table: Table, options: LocalStoreOptions) {
    this.#table = table;
    this.#options = options;
    this.#watches = new Watches(table);
    this.#leases = new Leases(options.clock, (id) => this.#expire(id));
    this.#leases.load(table.leases());
  }

  async get(key: string): Promise<KeyValue | null> {
    this.#assertOpen();
    return this.#table.get(key);
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    this.#assertOpen();
    const table = this.#table;
    const { limit = Infinity, after = "", revision = table.revision } = options;
    if (revision > table.revision) {
      throw new StoreError(
        "INVALID",
        `Cannot read at revision ${revision}: the last one is ${table.revision}.`,
      );
    }
    if (revision < table.compacted) throw compacted(prefix, revision, table.compacted);
    const kvs = table.list(prefix, after, limit + 1, revision);
    const more = kvs.length > limit;
    return { kvs: more ? kvs.slice(0, limit) : kvs, more, revision };
  }

  txn(txn: Txn): Promise<TxnResult> {
    return this.#write(() => this.#run(txn));
  }

  watch(prefix: string, fromRevision: number, signal: AbortSignal) {
    return this.#watches.watch(prefix, fromRevision, signal);
  }

  async grant(ttlSeconds: number): Promise<string> {
    const id = await this.#write(() => this.#table.addLease(ttlSeconds));
    this.#leases.add({ id, ttlSeconds });
    return id;
  }

  async keepAlive(lease: string): Promise<void> {
    this.#assertOpen();
    if (!this.#leases.renew(lease)) throw leaseNotFound(lease);
  }

  async revoke(lease: string): Promise<void> {
    await this.#write(() => this.#endLease(lease));
    this.#leases.remove(lease);
  }

  async compact(revision: number): Promise<void> {
    const table = this.#table;
    if (revision > table.revision + 1) {
      throw new StoreError(
        "INVALID",
        `Cannot compact to revision ${revision}: the last one is ${table.revision}.`,
      );
    }
    await this.#write(() => {
      if (revision - 1 > table.compacted) table.setCompacted(revision - 1);
    });
    this.#watches.wake();
    while (await this.#write(() => table.dropCompacted(compactRows)));
  }

  async generation(): Promise<number> {
    this.#assertOpen();
    return generationOf(this.#table.get(generationKey)?.value);
  }

  async status(): Promise<StoreStatus> {
    const generation = await this.generation();
    const { driver, revision } = this.#table;
    return { driver, revision, generation, warnings: this.#table.warnings() };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#commit();
    this.#closed = true;
    this.#leases.close();
    this.#watches.close();
    this.#table.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError("UNAVAILABLE", "Cannot use the store: it is closed.");
  }

  /** `run` changes the table inside its atomically(); a StoreError of it was thrown before it changed anything. */
  #write<T>(run: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#assertOpen();
      this.#group.push({ run, resolve: (value) => resolve(value as T), reject });
      if (this.#group.length === 1) this.#options.schedule(() => this.#commit());
    });
  }

  #commit(): void {
    const group = this.#group;
    this.#group = [];
    if (group.length === 0) return;
    this.#commitGroup(group);
    this.#watches.wake();
  }

  #commitGroup(group: Write[]): void {
    const outcomes: Outcome[] = [];
    try {
      this.#table.atomically(() => {
        for (const write of group) outcomes.push(attempt(write));
      });
    } catch (error) {
      const code = error instanceof StoreError ? error.code : null;
      // A group may be too large where each of its writes is not.
      if (code === "NO_SPACE" && group.length > 1) {
        for (const write of group) this.#commitGroup([write]);
        return;
      }
      if (code === "UNKNOWN_OUTCOME") this.#leases.load(this.#table.leases());
      for (const write of group) write.reject(error);
      return;
    }
    group.forEach((write, i) => {
      const outcome = outcomes[i]!;
      if ("error" in outcome) write.reject(outcome.error);
      else write.resolve(outcome.value);
    });
  }

  #run(txn: Txn): TxnResult {
    const table = this.#table;
    const succeeded = txn.if.every((compare) => holds(compare, table.get(compare.key)));
    const branch = (succeeded ? txn.then : txn.else) ?? [];
    for (const operation of branch) {
      if (operation.type === "put" && operation.lease !== undefined && !table.hasLease(operation.lease)) {
        throw leaseNotFound(operation.lease);
      }
    }
    const revision = table.revision + 1;
    const results = branch.map((operation) => this.#operate(operation, revision));
    return { succeeded, revision: table.revision, results };
  }

  #operate(operation: Operation, revision: number): KeyValue | null {
    const { key } = operation;
    const old = this.#table.get(key);
    switch (operation.type) {
      case "get":
        return old;
      case "put":
        this.#table.put({
          key,
          value: operation.value,
          createRevision: old?.createRevision ?? revision,
          modRevision: revision,
          version: (old?.version ?? 0) + 1,
          lease: operation.lease ?? null,
        });
        return null;
      case "delete":
        if (old) this.#table.delete(key, revision);
        return null;
    }
  }

  #endLease(id: string): void {
    const revision = this.#table.revision + 1;
    for (const key of this.#table.attached(id)) this.#table.delete(key, revision);
    this.#table.removeLease(id);
  }

  async #expire(id: string): Promise<void> {
    const ended = await this.#write(() => {
      // It may have been renewed since its timer rang.
      if (!this.#leases.isDue(id)) return false;
      this.#endLease(id);
      return true;
    });
    if (ended) this.#leases.remove(id);
  }
}

/** Anything but a StoreError is the table's and undoes the whole group. */
function attempt(write: Write): Outcome {
  try {
    return { value: write.run() };
  } catch (error) {
    if (error instanceof StoreError) return { error };
    throw error;
  }
}

function leaseNotFound(lease: string): StoreError {
  return new StoreError("LEASE_NOT_FOUND", `Cannot use lease ${lease}: it has expired or was revoked.`);
}
