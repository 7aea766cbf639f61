/** The table in memory: per key its versions, and all changes in order of revision. */
import type { KeyValue } from "../store.ts";
import { prefixEnd, type Change, type ChangesPage, type LeaseRow, type Table } from "../local/table.ts";

export class MemoryTable implements Table {
  readonly driver = "memory";
  revision = 1;
  compacted = 0;
  /** Oldest first; a key without any version is not in the map. */
  readonly #versions = new Map<string, Change[]>();
  /** The keys of #versions, sorted. */
  readonly #keys: string[] = [];
  /** In order of revision; within one, of arrival. */
  #log: Change[] = [];
  readonly #leases = new Map<string, { ttlSeconds: number; keys: Set<string> }>();
  #lastLease = 0;

  get(key: string): KeyValue | null {
    return this.#versions.get(key)?.at(-1)?.kv ?? null;
  }

  list(prefix: string, after: string, limit: number, revision: number): KeyValue[] {
    const end = prefixEnd(prefix);
    const kvs: KeyValue[] = [];
    let i = after >= prefix ? position(this.#keys, after, true) : position(this.#keys, prefix, false);
    for (; i < this.#keys.length && this.#keys[i]! < end && kvs.length < limit; i += 1) {
      const versions = this.#versions.get(this.#keys[i]!)!;
      const kv = versions.findLast((version) => version.revision <= revision)?.kv;
      if (kv) kvs.push(kv);
    }
    return kvs;
  }

  changes(prefix: string, fromRevision: number, rows: number): ChangesPage {
    const log = this.#log;
    let i = firstAt(log, fromRevision);
    const changes: Change[] = [];
    for (; i < log.length; i += 1) {
      const change = log[i]!;
      const last = changes.at(-1);
      if (changes.length >= rows && last!.revision !== change.revision) break;
      if (change.key.startsWith(prefix)) changes.push(change);
    }
    changes.sort((a, b) => a.revision - b.revision || (a.key < b.key ? -1 : 1));
    return { changes, through: i < log.length ? log[i]!.revision - 1 : this.revision };
  }

  /** A writer here cannot fail half-way: whatever it may throw, it throws before it writes. */
  atomically(writer: () => void): void {
    writer();
  }

  put(kv: KeyValue): void {
    this.#detach(kv.key);
    if (kv.lease !== null) this.#leases.get(kv.lease)?.keys.add(kv.key);
    this.#append({ revision: kv.modRevision, key: kv.key, kv: Object.freeze(kv) });
  }

  delete(key: string, revision: number): void {
    this.#detach(key);
    this.#append({ revision, key, kv: null });
  }

  leases(): LeaseRow[] {
    return [...this.#leases].map(([id, { ttlSeconds }]) => ({ id, ttlSeconds }));
  }
  hasLease(id: string): boolean {
    return this.#leases.has(id);
  }
  attached(lease: string): string[] {
    return [...(this.#leases.get(lease)?.keys ?? [])].sort();
  }
  addLease(ttlSeconds: number): string {
    this.#lastLease += 1;
    const id = String(this.#lastLease);
    this.#leases.set(id, { ttlSeconds, keys: new Set() });
    return id;
  }
  removeLease(id: string): void {
    this.#leases.delete(id);
  }

  setCompacted(revision: number): void {
    this.compacted = revision;
    this.#log = this.#log.slice(firstAt(this.#log, revision + 1));
    for (const [key, versions] of this.#versions) {
      // The last version at or before the revision stays, unless it is a deletion.
      let from = versions.findLastIndex((version) => version.revision <= revision);
      if (from >= 0 && versions[from]!.kv === null) from += 1;
      if (from > 0) versions.splice(0, from);
      if (versions.length > 0) continue;
      this.#versions.delete(key);
      this.#keys.splice(position(this.#keys, key, false), 1);
    }
  }
  dropCompacted(): boolean {
    return false;
  }

  warnings(): string[] {
    return [];
  }
  close(): void {}

  #append(change: Change): void {
    this.revision = change.revision;
    this.#log.push(change);
    const versions = this.#versions.get(change.key);
    if (versions) {
      versions.push(change);
      return;
    }
    this.#versions.set(change.key, [change]);
    this.#keys.splice(position(this.#keys, change.key, false), 0, change.key);
  }

  #detach(key: string): void {
    const lease = this.get(key)?.lease;
    if (lease) this.#leases.get(lease)?.keys.delete(key);
  }
}

/** Index of the first key that is at least `key`, or greater than it. */
function position(keys: string[], key: string, greater: boolean): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key || (greater && keys[middle] === key)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the first change at or after the revision. */
function firstAt(log: Change[], revision: number): number {
  let [low, high] = [0, log.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (log[middle]!.revision < revision) low = middle + 1;
    else high = middle;
  }
  return low;
}
