/**
 * Which inodes have changed, lately, for whoever follows: kept in memory, since it is all to be found in the tables by
 * who asks. What was before this process opened the volume is not known here.
 */
import { DvsError } from "../../errors.ts";
import { fileChangesKept } from "../../limits.ts";
import type { Follower } from "../../state/module.ts";
import type { Locks } from "./locks.ts";

export class Changes {
  /** Inodes and indices of the last ones, in a ring: that of number n is at n % fileChangesKept. */
  readonly #inos = new Float64Array(fileChangesKept);
  readonly #indices = new Float64Array(fileChangesKept);
  /** How many there were, and how many of them are not kept any more. */
  #count = 0;
  #dropped = 0;
  /** What changed up to this record is not kept; null: no record has come yet. */
  #forgotten: number | null = null;
  #last = 0;
  #epoch = 0;

  /** A record is carried out; or again, when what it and others did was undone. */
  began(index: number): void {
    this.#forgotten ??= index - 1;
    while (this.#count > this.#dropped && this.#indexOf(this.#count - 1) >= index) this.#count--;
    this.#last = index;
  }

  /** More has changed than can be told: whoever follows has to look at everything. */
  forget(): void {
    this.#dropped = this.#count;
    this.#forgotten = this.#last;
    this.#epoch++;
  }

  note(ino: number, index: number): void {
    if (this.#count - this.#dropped === fileChangesKept) this.#forgotten = this.#indexOf(this.#dropped++);
    const at = this.#count++ % fileChangesKept;
    this.#inos[at] = ino;
    this.#indices[at] = index;
  }

  /** −1: from now on. Throws CONFLICT. */
  follow(after: number): Follower {
    if (after >= 0) this.#checkKept(after);
    return new ChangesFollower(this, after >= 0 ? after : null);
  }

  get last(): number {
    return this.#last;
  }

  /** Rises whenever all is forgotten. */
  get epoch(): number {
    return this.#epoch;
  }

  get count(): number {
    return this.#count;
  }

  /** From the one of this number on. CONFLICT: it is gone. */
  from(number: number, after: number, max: number): (readonly [ino: number, index: number])[] {
    if (number < this.#dropped) this.#checkKept(after);
    const found: (readonly [ino: number, index: number])[] = [];
    for (let at = Math.max(number, this.#dropped); at < this.#count && found.length < max; at++) {
      found.push([this.#inos[at % fileChangesKept]!, this.#indexOf(at)]);
    }
    return found;
  }

  /** The number of the first above this record. */
  numberOf(after: number): number {
    let at = this.#count;
    while (at > this.#dropped && this.#indexOf(at - 1) > after) at--;
    return at;
  }

  #indexOf(number: number): number {
    return this.#indices[number % fileChangesKept]!;
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
  readonly #epoch: number;
  #after: number;
  #next: number;
  /** Where it begins is told first. */
  #isTold: boolean;

  constructor(changes: Changes, after: number | null) {
    this.#changes = changes;
    this.#epoch = changes.epoch;
    this.#isTold = after !== null;
    this.#after = after ?? changes.last;
    this.#next = after === null ? changes.count : changes.numberOf(after);
  }

  next(max: number): unknown[] {
    if (this.#epoch !== this.#changes.epoch) throw isOther();
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
  readonly #epoch: number;
  #record: number;
  #ticket = Number.MAX_SAFE_INTEGER;

  constructor(locks: Locks, client: string, after: number) {
    this.#locks = locks;
    this.#epoch = locks.epoch;
    this.#client = client;
    this.#record = after;
  }

  next(max: number): unknown[] {
    if (this.#epoch !== this.#locks.epoch) throw isOther();
    const found = this.#locks.grants(this.#client, this.#record, this.#ticket, max);
    for (const { ticket, record } of found) {
      this.#ticket = ticket;
      this.#record = record;
    }
    return found.map(({ ticket, record }) => [ticket, record]);
  }
}

function isOther(): DvsError {
  return new DvsError(
    "CONFLICT",
    "The files are not what they were: restored from a backup, or with changes given up. Look at everything anew.",
  );
}
