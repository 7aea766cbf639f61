/**
 * What `memory` and `sqlite` have in common below: versioned rows, read and written in one step. Everything above it
 * (transactions, watches, leases) is `local-store.ts`, once for both.
 *
 * A version is visible from its revision until it is superseded. Compaction to C drops what was superseded at C or
 * before, and deletions up to C: the state at C and every change after C stay.
 */
import type { KeyValue } from "../store.ts";

/** One key of one revision; kv is null when it was deleted. */
export interface Change {
  revision: number;
  key: string;
  kv: KeyValue | null;
}

export interface ChangesPage {
  /** Whole revisions, in order of revision and key. */
  changes: Change[];
  /** Every matching change up to this revision is in the page or was before it. */
  through: number;
}

export interface LeaseRow {
  id: string;
  ttlSeconds: number;
}

export interface Table {
  readonly driver: "memory" | "sqlite";
  /** Of the last change, 1 in an empty store (as in etcd). */
  readonly revision: number;
  /** The oldest revision whose state can be read; changes are kept from the next one. */
  readonly compacted: number;

  get(key: string): KeyValue | null;
  /** At most `limit` keys with the prefix and greater than `after`, as of the revision. */
  list(prefix: string, after: string, limit: number, revision: number): KeyValue[];
  /** About `rows` changes from the revision on, more only to complete the first revision. */
  changes(prefix: string, fromRevision: number, rows: number): ChangesPage;

  /**
   * Runs the writer and makes what it wrote durable, all or nothing. The writer alone may call the methods below.
   * What it throws undoes everything and comes out again. Throws StoreError NO_SPACE or UNAVAILABLE when nothing was
   * written, UNKNOWN_OUTCOME when that cannot be told.
   */
  atomically(writer: () => void): void;
  /** Its modRevision is `revision` or the one after it. */
  put(kv: KeyValue): void;
  delete(key: string, revision: number): void;
  leases(): LeaseRow[];
  hasLease(id: string): boolean;
  /** Keys attached to it, in order. */
  attached(lease: string): string[];
  addLease(ttlSeconds: number): string;
  removeLease(id: string): void;
  /** Raises `compacted`. Rows go by `dropCompacted`. */
  setCompacted(revision: number): void;
  /** Drops about `rows` rows that compaction made invisible; false when none is left. */
  dropCompacted(rows: number): boolean;

  /** Words for people about anything that is wrong. */
  warnings(): string[];
  close(): void;
}

/** The first key after all keys with this prefix (printable ASCII). */
export function prefixEnd(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}
