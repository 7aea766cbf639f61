/**
 * Which inodes have changed, lately, for whoever follows: kept in memory, since it is all to be found in the tables by
 * who asks. What was before this process opened the volume is not known here.
 */
import { DvsError } from "../../errors.ts";
import { fileChangesKept } from "../../limits.ts";
import type { Follower } from "../../state/module.ts";
import type { Locks } from "./locks.ts";

export class Changes {
  /** `[inode, index]`, in the order of their indices. */
  #kept: (readonly [ino: number, index: number])[] = [];
  /** Of those that there were, how many are not kept any more. */
  #dropped = 0;
  /** What changed up to this record is not kept; null: no record has come yet. */
  #forgotten: number | null = null;
  #last = 0;

  /** A record is carried out; or again, when what it and others did was undone. */
  began(index: number): void {
    this.#forgotten ??= index - 1;
    while (this.#kept.length > 0 && this.#kept.at(-1)![1] >= index) this.#kept.pop();
    this.#last = index;
  }

  note(ino: number, index: number): void {
    this.#kept.push([ino, index]);
    // Half of them at a time: moving the others costs little then.
    if (this.#kept.length < 2 * fileChangesKept) return;
    const dropped = this.#kept.splice(0, fileChangesKept);
    this.#dropped += dropped.length;
    this.#forgotten = dropped.at(-1)![1];
  }

  /** −1: from now on. Throws CONFLICT. */
  follow(after: number): Follower {
    if (after >= 0) this.#checkKept(after);
    return new ChangesFollower(this, after >= 0 ? after : null);
  }

  get last(): number {
    return this.#last;
  }

  /** How many there were. */
  get count(): number {
    return this.#dropped + this.#kept.length;
  }

  /** From the one of this number on. CONFLICT: it is gone. */
  from(number: number, after: number, max: number): (readonly [ino: number, index: number])[] {
    if (number < this.#dropped) this.#checkKept(after);
    const first = Math.max(0, number - this.#dropped);
    return this.#kept.slice(first, first + max);
  }

  /** The number of the first above this record. */
  numberOf(after: number): number {
    const found = this.#kept.findIndex(([, index]) => index > after);
    return this.#dropped + (found < 0 ? this.#kept.length : found);
  }

  #checkKept(after: number): void {
    if (this.#forgotten !== null && after >= this.#forgotten) return;
    throw new DvsError(
      "CONFLICT",
      `Cannot follow the changes of files from record ${after} on: those up to ${this.#forgotten ?? "now"} are no longer kept. Look at everything, then follow from now on.`,
    );
  }
}

class ChangesFollower implements Follower {
  readonly #changes: Changes;
  #after: number;
  #next: number;
  /** Where it begins is told first. */
  #isTold: boolean;

  constructor(changes: Changes, after: number | null) {
    this.#changes = changes;
    this.#isTold = after !== null;
    this.#after = after ?? changes.last;
    this.#next = after === null ? changes.count : changes.numberOf(after);
  }

  next(max: number): unknown[] {
    if (!this.#isTold) {
      this.#isTold = true;
      return [[0, this.#after]];
    }
    // Records that are carried out again have taken theirs back.
    this.#next = Math.min(this.#next, this.#changes.count);
    const found = this.#changes.from(this.#next, this.#after, max);
    this.#next += found.length;
    this.#after = found.at(-1)?.[1] ?? this.#after;
    return found;
  }
}

/** Locks that a client has waited for and got, behind a record. */
export class GrantsFollower implements Follower {
  readonly #locks: Locks;
  readonly #client: string;
  #record: number;
  #ticket = Number.MAX_SAFE_INTEGER;

  constructor(locks: Locks, client: string, after: number) {
    this.#locks = locks;
    this.#client = client;
    this.#record = after;
  }

  next(max: number): unknown[] {
    const found = this.#locks.grants(this.#client, this.#record, this.#ticket, max);
    for (const { ticket, record } of found) {
      this.#ticket = ticket;
      this.#record = record;
    }
    return found.map(({ ticket, record }) => [ticket, record]);
  }
}
