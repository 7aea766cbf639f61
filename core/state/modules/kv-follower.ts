/** One watch of the key-value: reads on in the changes that are kept, so that nothing is queued for who reads slowly. */
import { DvsError } from "../../errors.ts";
import type { Follower } from "../module.ts";
import { hasPrefix, keyBytes, keyText } from "./kv-keys.ts";
import type { KvEvent } from "./kv-messages.ts";

export interface ChangeRow {
  revision: number;
  key: Uint8Array;
  value: Uint8Array | null;
}

export interface KvChanges {
  /** Those up to this revision are not kept any more. */
  forgotten(): number;
  /** Those of revisions above, in order. */
  after(revision: number, limit: number): ChangeRow[];
}

/** More than one record makes. */
const rowsPerRead = 2_048;

export class KvFollower implements Follower {
  readonly #changes: KvChanges;
  readonly #text: string;
  readonly #prefix: Uint8Array;
  /** All up to this revision has been given, or does not concern it. */
  #revision: number;

  /** Throws CONFLICT when changes after `after` are not kept any more. */
  constructor(changes: KvChanges, prefix: string, after: number) {
    this.#changes = changes;
    this.#text = prefix;
    this.#prefix = keyBytes(prefix);
    this.#revision = after;
    this.#checkKept();
  }

  next(max: number): KvEvent[] {
    this.#checkKept();
    for (;;) {
      const rows = this.#changes.after(this.#revision, rowsPerRead);
      const events = this.#take(rows, max);
      if (events.length > 0 || rows.length < rowsPerRead) return events;
    }
  }

  #take(rows: ChangeRow[], max: number): KvEvent[] {
    // The last record may have been cut: then it waits for the next read, which begins with it.
    const last = rows.length === rowsPerRead ? rows.at(-1)!.revision : Infinity;
    const events: KvEvent[] = [];
    for (const { revision, key, value } of rows) {
      if (revision === last) break;
      const event = events.at(-1);
      const sameRecord = event?.revision === revision;
      if (!sameRecord && events.length === max) break;
      this.#revision = revision;
      if (!hasPrefix(key, this.#prefix)) continue;
      const change = { key: keyText(key), value: value?.slice() ?? null };
      if (sameRecord) event.changes.push(change);
      else events.push({ revision, changes: [change] });
    }
    return events;
  }

  #checkKept(): void {
    const forgotten = this.#changes.forgotten();
    if (this.#revision >= forgotten) return;
    throw new DvsError(
      "CONFLICT",
      `Cannot watch "${this.#text}" from revision ${this.#revision} on: changes up to ${forgotten} are no longer kept. List the keys, then watch from now on.`,
    );
  }
}
