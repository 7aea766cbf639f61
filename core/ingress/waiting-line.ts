/**
 * Requests that wait, in the order in which they arrived: one that comes back, because its upstream died, stands
 * before those that arrived after it. Bound: LoadLimits.waitingMax, watched by its user.
 */
export interface Place<W> {
  readonly waiter: W;
  /** Its rank; lower is earlier. */
  readonly order: number;
  /** When it began to wait here, by the clock and in its user's count of events. */
  readonly sinceMs: number;
  readonly sinceCount: number;
  /** When it has waited for too long; moved by what our own loop was late. */
  deadlineMs: number;
  previous: Place<W> | null;
  next: Place<W> | null;
}

export class WaitingLine<W> {
  #first: Place<W> | null = null;
  #last: Place<W> | null = null;
  size = 0;

  get first(): Place<W> | null {
    return this.#first;
  }

  add(waiter: W, order: number, since: { ms: number; count: number }, deadlineMs: number): Place<W> {
    // Those that come back are among the oldest, all others the youngest.
    let next: Place<W> | null = null;
    if (this.#last !== null && this.#last.order > order) {
      next = this.#first;
      while (next !== null && next.order < order) next = next.next;
    }
    const previous = next === null ? this.#last : next.previous;
    const place: Place<W> = {
      waiter,
      order,
      sinceMs: since.ms,
      sinceCount: since.count,
      deadlineMs,
      previous,
      next,
    };
    if (previous === null) this.#first = place;
    else previous.next = place;
    if (next === null) this.#last = place;
    else next.previous = place;
    this.size++;
    return place;
  }

  /** Its `next` stays readable, so that a walk along the line may remove the place where it stands. */
  remove(place: Place<W>): void {
    if (place.previous === null) this.#first = place.next;
    else place.previous.next = place.next;
    if (place.next === null) this.#last = place.previous;
    else place.next.previous = place.previous;
    this.size--;
  }
}
