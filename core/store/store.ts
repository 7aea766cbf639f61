/**
 * The control store: revisioned keys, shaped like etcd v3. Every driver (memory, sqlite, etcd) enforces the
 * intersection of what all of them can do, so that what works on one works on each; `test/core/store` runs one
 * conformance suite over them.
 *
 * - A key is `/` and printable ASCII characters, at most 512: so code units and bytes sort alike. A value is a
 *   well-formed string of at most 1 MiB in UTF-8; all keys and values of a transaction together have 1.25 MiB.
 * - A transaction has at most 100 operations (compares, puts and deletes together are counted per branch), names
 *   each key at most once among the operations of a branch, and its compares are flat.
 * - Every transaction that changes something makes one revision. Revisions rise and are never reused, also
 *   after a restart.
 * - A lease has a time to live in whole seconds, at least 2. It may expire late, never early; a restart or a change
 *   of leader refreshes it.
 * - A watch delivers whole revisions in order, or ends with COMPACTED.
 * - A transaction whose answer was lost ends with UNKNOWN_OUTCOME: it may or may not have been applied. Put a random
 *   change id into what you write and read it back (`settle.ts`).
 * - The store has a generation, raised by restore and copy.
 */

export interface KeyValue {
  key: string;
  value: string;
  /** Revision that created the key, after its last deletion. */
  createRevision: number;
  /** Revision of the last change. */
  modRevision: number;
  /** Number of changes since creation, from 1. */
  version: number;
  /** Id of the lease it is attached to, or null. */
  lease: string | null;
}

export type Compare =
  /** createRevision 0 = the key does not exist. */
  | { key: string; target: "create" | "mod" | "version"; op: "=" | "!=" | ">" | "<"; value: number }
  | { key: string; target: "value"; op: "=" | "!=" | ">" | "<"; value: string };

export type Operation =
  | { type: "put"; key: string; value: string; lease?: string }
  /** Deleting a key that does not exist changes nothing and is not an error. */
  | { type: "delete"; key: string }
  | { type: "get"; key: string };

export interface Txn {
  /** All must hold for `then` to run. A compare of the value of a missing key never holds. */
  if: Compare[];
  then: Operation[];
  else?: Operation[];
}

export interface TxnResult {
  succeeded: boolean;
  /** The store's revision after the transaction. */
  revision: number;
  /** One per operation of the branch that ran; kvs of a `get` only. */
  results: (KeyValue | null)[];
}

export interface RangeOptions {
  /** At most this many, default all. */
  limit?: number;
  /** Only keys greater than this one: the last key of the page before. */
  after?: string;
  /** As of this revision; COMPACTED when it is too old, INVALID when it has not been made yet. */
  revision?: number;
}

export interface RangeResult {
  kvs: KeyValue[];
  /** True when `limit` cut the result. */
  more: boolean;
  /** What was read is the state after this revision: watch from the next one. */
  revision: number;
}

export interface WatchEvent {
  type: "put" | "delete";
  key: string;
  /** Null for delete. */
  kv: KeyValue | null;
}

/** All events of one revision that match, at most one per key. */
export interface WatchBatch {
  revision: number;
  events: WatchEvent[];
}

export interface StoreStatus {
  driver: "memory" | "sqlite" | "etcd";
  revision: number;
  generation: number;
  /** Words for people about anything that is wrong; empty when all is well. */
  warnings: string[];
  /** Where several keep it together and a majority says so. */
  members?: StoreMembers;
}

export interface StoreMembers {
  /** A majority of them must live for anything to be changed. */
  voters: number;
  /** Those that were asked and do not answer. */
  silent: string[];
}

export interface Store {
  get(key: string): Promise<KeyValue | null>;
  /** Keys that begin with the prefix, in order of code units. */
  range(prefix: string, options?: RangeOptions): Promise<RangeResult>;
  txn(txn: Txn): Promise<TxnResult>;
  /**
   * Changes of keys with the prefix (in order of keys within a revision), from `fromRevision` (inclusive; use range's revision + 1) until the signal
   * aborts (the iterator then ends without an error). Survives lost connections by itself.
   */
  watch(prefix: string, fromRevision: number, signal: AbortSignal): AsyncIterable<WatchBatch>;
  /** Id of a new lease. */
  grant(ttlSeconds: number): Promise<string>;
  /** Throws LEASE_NOT_FOUND when it expired. */
  keepAlive(lease: string): Promise<void>;
  /** Deletes the lease and every key attached to it, in one revision. A lease that is gone already is no error. */
  revoke(lease: string): Promise<void>;
  /** Forgets history below the revision: what can still be had is the state just before it and every change from it. */
  compact(revision: number): Promise<void>;
  /** Raised by restore and copy. One read. */
  generation(): Promise<number>;
  /** For people: asks all who keep it, and waits for those that are silent. */
  status(): Promise<StoreStatus>;
  close(): Promise<void>;
}

export type StoreErrorCode =
  /** Not carried out; may work later. */
  | "UNAVAILABLE"
  | "UNKNOWN_OUTCOME"
  | "COMPACTED"
  | "LEASE_NOT_FOUND"
  /** Breaks a limit above; the message names it. */
  | "INVALID"
  /** No space left for writes. */
  | "NO_SPACE";

export class StoreError extends Error {
  readonly code: StoreErrorCode;
  constructor(code: StoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "StoreError";
    this.code = code;
  }
}
