/**
 * The control store of a simulated cluster: the rows and compares of core/store, with transactions and watches in one
 * step. It never fails itself; what is lost is lost on the way to it and back.
 */
import { txnOperationsMax } from "../../../core/limits.ts";
import { holds } from "../../../core/store/compare.ts";
import { MemoryTable } from "../../../core/store/memory/memory-table.ts";
import type { KeyValue, Operation, Txn, TxnResult, WatchBatch } from "../../../core/store/store.ts";
import type { Host } from "../harness/host.ts";
import type { Simulation } from "../harness/simulation.ts";
import type { Stream } from "../harness/stream.ts";

/** Who sent a transaction and what for: seen by invariants only. */
export interface Issuer {
  /** `c1#3`: a coordinator in its third life; `client`. */
  by: string;
  kind: string;
}

export interface Commit {
  revision: number;
  issuer: Issuer;
  /** Before and after, per key. */
  changes: { key: string; before: KeyValue | null; after: KeyValue | null }[];
}

export type ToWatcher = { type: "batch"; batch: WatchBatch } | { type: "compacted" };

export class SimStore {
  readonly #sim: Simulation;
  readonly host: Host;
  readonly table = new MemoryTable();
  /** Every revision since the last compaction, for watchers that come late. */
  #history: WatchBatch[] = [];
  readonly #watchers = new Set<Stream<ToWatcher, never>>();
  onCommit: ((commit: Commit) => void) | undefined;

  constructor(sim: Simulation) {
    this.#sim = sim;
    this.host = sim.host("store");
    this.host.start();
  }

  get(key: string): KeyValue | null {
    return this.table.get(key);
  }

  range(prefix: string): KeyValue[] {
    return this.table.list(prefix, "", Infinity, this.table.revision);
  }

  txn(txn: Txn, issuer: Issuer): TxnResult {
    const succeeded = txn.if.every((compare) => holds(compare, this.table.get(compare.key)));
    const branch = (succeeded ? txn.then : txn.else) ?? [];
    checkLimits(txn);
    const commit = this.#apply(branch, issuer);
    const revision = this.table.revision;
    const results = branch.map((operation) =>
      operation.type === "get" ? this.table.get(operation.key) : null,
    );
    if (commit.changes.length > 0) this.#publish(commit);
    return { succeeded, revision, results };
  }

  /** A request over the network: `done` runs at `from`, if both ways work. */
  request<T>(from: Host, run: () => T, done: (result: T) => void): void {
    this.#sim.network.request<T>(from, this.host, (reply) => reply(run()), done);
  }

  watch(from: Host, fromRevision: number): Stream<never, ToWatcher> {
    return this.#sim.network.connect<never, ToWatcher>(from, this.host, (far) => {
      if (fromRevision <= this.table.compacted) {
        far.send({ type: "compacted" });
        return;
      }
      for (const batch of this.#history)
        if (batch.revision >= fromRevision) far.send({ type: "batch", batch });
      this.#watchers.add(far);
      far.onClose = () => this.#watchers.delete(far);
    });
  }

  compact(): void {
    this.table.setCompacted(this.table.revision);
    this.#history = [];
  }

  #apply(branch: readonly Operation[], issuer: Issuer): Commit {
    const revision = this.table.revision + 1;
    const changes: Commit["changes"] = [];
    for (const operation of branch) {
      const { key } = operation;
      const before = this.table.get(key);
      if (operation.type === "put") {
        const after: KeyValue = {
          key,
          value: operation.value,
          createRevision: before?.createRevision ?? revision,
          modRevision: revision,
          version: (before?.version ?? 0) + 1,
          lease: null,
        };
        this.table.put(after);
        changes.push({ key, before, after });
      } else if (operation.type === "delete" && before) {
        this.table.delete(key, revision);
        changes.push({ key, before, after: null });
      }
    }
    return { revision, issuer, changes };
  }

  #publish(commit: Commit): void {
    const events = commit.changes.map(({ key, after }) => ({
      type: after ? ("put" as const) : ("delete" as const),
      key,
      kv: after,
    }));
    const batch: WatchBatch = { revision: commit.revision, events };
    this.#history.push(batch);
    const what = commit.changes.map(({ key, after }) => `${after ? "" : "-"}${key}`).join(" ");
    this.#sim.log(`store r${commit.revision} ${commit.issuer.by} ${commit.issuer.kind}: ${what}`);
    this.onCommit?.(commit);
    for (const watcher of this.#watchers) {
      if (watcher.closed) this.#watchers.delete(watcher);
      else watcher.send({ type: "batch", batch });
    }
  }
}

/** What every driver refuses (core/store/store.ts). */
function checkLimits(txn: Txn): void {
  for (const branch of [txn.then, txn.else ?? []]) {
    const keys = branch.map((operation) => operation.key);
    if (new Set(keys).size < keys.length)
      throw new Error(`a key twice in one transaction: ${keys.join(" ")}`);
    if (txn.if.length + branch.length > txnOperationsMax)
      throw new Error("too many operations in a transaction");
  }
}
