/** Which epoch each record of the log has: runs of equal ones, since a log has few epochs and many records. */

export interface EpochRun {
  first: number;
  /** Null: these records are damaged. */
  epoch: number | null;
}

export class Epochs {
  /** By `first`, each up to the next. The first run may begin before the log, with the record that a snapshot ends with. */
  #runs: EpochRun[] = [];

  set(index: number, epoch: number | null): void {
    const last = this.#runs.at(-1);
    if (!last || last.epoch !== epoch) this.#runs.push({ first: index, epoch });
  }

  get runs(): readonly EpochRun[] {
    return this.#runs;
  }

  /** Null when it is not known: before the log, or damaged. */
  at(index: number): number | null {
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = this.#runs[i]!;
      if (run.first <= index) return run.epoch;
    }
    return null;
  }

  truncateAfter(index: number): void {
    while (this.#runs.length > 0 && this.#runs.at(-1)!.first > index) this.#runs.pop();
  }

  /** Forgets what is before `index`, which keeps its epoch. */
  discardBefore(index: number): void {
    while (this.#runs.length > 1 && this.#runs[1]!.first <= index) this.#runs.shift();
    const first = this.#runs[0];
    if (first && first.first < index) first.first = index;
  }

  /** Puts known epochs in the place of unknown ones, from `from` on. `lastIndex`: of the log. */
  fill(from: number, epochs: number[], lastIndex: number): void {
    const next = from + epochs.length;
    const nextEpoch = this.at(next);
    const later = this.#runs.filter((run) => run.first > next);
    this.truncateAfter(from - 1);
    for (const [i, epoch] of epochs.entries()) this.set(from + i, epoch);
    if (next <= lastIndex) this.set(next, nextEpoch);
    for (const { first, epoch } of later) this.set(first, epoch);
  }

  reset(index: number, epoch: number): void {
    this.#runs = [{ first: index, epoch }];
  }
}
