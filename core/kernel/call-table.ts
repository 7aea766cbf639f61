/**
 * The calls of one process that others have heard of, by number. Numbers count up and most calls are over soon, so a
 * ring of the last ones holds nearly all: finding, adding and removing are one comparison and one assignment, where a
 * Map is hashed and now and then made anew. A call that lives for longer gives its place up, to a Map.
 */
import type { Call } from "./call.ts";

const places = 16;

export class CallTable {
  readonly #ring: (Call | null)[] = Array.from({ length: places }, () => null);
  readonly #older = new Map<number, Call>();
  size = 0;

  get(number: number): Call | undefined {
    const call = this.#ring[number % places];
    if (call && call.number === number) return call;
    return this.#older.size > 0 ? this.#older.get(number) : undefined;
  }

  set(number: number, call: Call): void {
    this.delete(number);
    const place = number % places;
    const present = this.#ring[place];
    if (present) this.#older.set(present.number, present);
    this.#ring[place] = call;
    this.size++;
  }

  delete(number: number): boolean {
    const place = number % places;
    if (this.#ring[place]?.number === number) this.#ring[place] = null;
    else if (this.#older.size === 0 || !this.#older.delete(number)) return false;
    this.size--;
    return true;
  }

  /** As it is now, by number: calls may be added and removed while one goes through them. */
  values(): Call[] {
    const calls = [...this.#older.values()];
    for (const call of this.#ring) if (call) calls.push(call);
    return calls.sort((a, b) => a.number - b.number);
  }
}
