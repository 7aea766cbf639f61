/**
 * Transactions under way: at most one per record, and a promise for each place that one would take. Pure machine.
 *
 * What a transaction did is learned from the watch alone. `applied` says that the watch will show it; a conflict or
 * a lost answer says nothing, and the record is decided anew from what the watch shows, after a pause. Doing that
 * too early does no harm: each transaction compares the revision that it was decided on, so of two at most one is
 * carried out.
 */
import type { TxnOutcome } from "./control-event.ts";

interface InFlight {
  id: string;
  /** Key of the record it changes. */
  key: string;
  /** Nodes on which it places a container. */
  places: readonly string[];
  /** Clock reading after which the record may be decided anew; null while unanswered. */
  retryAtMs: number | null;
}

export class InFlightTxns {
  readonly #byKey = new Map<string, InFlight>();
  readonly #keyOf = new Map<string, string>();
  readonly #promised: Map<string, Set<string>>;
  readonly #retryMs: number;

  /** `promised`: node → keys of instances that get a place there, kept up to date here. */
  constructor(promised: Map<string, Set<string>>, retryMs: number) {
    this.#promised = promised;
    this.#retryMs = retryMs;
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  begin(id: string, key: string, places: readonly string[] = []): void {
    this.#byKey.set(key, { id, key, places, retryAtMs: null });
    this.#keyOf.set(id, key);
    for (const node of places) {
      const keys = this.#promised.get(node) ?? new Set();
      this.#promised.set(node, keys.add(key));
    }
  }

  /** The watch showed another version of the record: whatever was under way is settled. */
  shown(key: string): void {
    const txn = this.#byKey.get(key);
    if (!txn) return;
    this.#byKey.delete(key);
    this.#keyOf.delete(txn.id);
    for (const node of txn.places) this.#promised.get(node)?.delete(key);
  }

  /** An answer came. An applied change is waited for ten times as long: only a broken watch keeps it from us. */
  done(id: string, outcome: TxnOutcome, clockMs: number): void {
    const key = this.#keyOf.get(id);
    const txn = key === undefined ? undefined : this.#byKey.get(key);
    if (txn) txn.retryAtMs = clockMs + this.#retryMs * (outcome === "applied" ? 10 : 1);
  }

  /** Keys of records that may be decided anew. */
  expired(clockMs: number): string[] {
    const keys: string[] = [];
    for (const txn of this.#byKey.values()) {
      if (txn.retryAtMs !== null && txn.retryAtMs <= clockMs) keys.push(txn.key);
    }
    for (const key of keys) this.shown(key);
    return keys;
  }
}
