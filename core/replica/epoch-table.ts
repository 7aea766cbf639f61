/** Which epoch each record of a log has: runs of equal ones, since a log has few epochs and many records. */

export interface EpochRun {
  epoch: number;
  /** Its first record. */
  first: number;
}

/** Names a record; {0, 0}: before the first of all. */
export interface Position {
  epoch: number;
  index: number;
}

export class EpochTable {
  /** The record before the first that is there, which is the last of a snapshot; or {0, 0}. */
  base: Position;
  #runs: EpochRun[];

  constructor(base: Position, runs: readonly EpochRun[]) {
    this.base = base;
    this.#runs = runs.map((run) => ({ ...run }));
  }

  /** The epoch of the last run, or of the base. */
  get lastEpoch(): number {
    return this.#runs.at(-1)?.epoch ?? this.base.epoch;
  }

  /** Of a record that is there, or the base; null before it. Above the last: of the last. */
  at(index: number): number | null {
    if (index === this.base.index) return this.base.epoch;
    if (index < this.base.index) return null;
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = this.#runs[i]!;
      if (run.first <= index) return run.epoch;
    }
    return null;
  }

  append(index: number, epoch: number): void {
    if (this.#runs.length === 0 || this.#runs.at(-1)!.epoch !== epoch)
      this.#runs.push({ epoch, first: index });
  }

  truncateAfter(index: number): void {
    while (this.#runs.length > 0 && this.#runs.at(-1)!.first > index) this.#runs.pop();
  }

  discardTo(index: number): void {
    if (index <= this.base.index) return;
    this.base = { index, epoch: this.at(index)! };
    while (this.#runs.length > 1 && this.#runs[1]!.first <= index + 1) this.#runs.shift();
    const run = this.#runs[0];
    if (run && run.first <= index) run.first = index + 1;
  }

  /**
   * The last record at or below `limit` whose epoch is at most `epoch`, as far as `last`: the last that two logs may
   * have in common. The base when there is none above it.
   */
  lastNotAbove(epoch: number, limit: number, last: number): Position {
    let end = Math.min(limit, last);
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = this.#runs[i]!;
      if (run.first <= end) {
        if (run.epoch <= epoch) return { epoch: run.epoch, index: end };
        end = run.first - 1;
      }
    }
    return this.base;
  }
}
