/**
 * A cache with a bound on the sum of its weights, evicting by CLOCK: a hit only sets a bit, so it costs one look-up;
 * the hand gives each entry that was used since it last came by a second chance.
 */
interface Slot<V> {
  value: V;
  weight: number;
  used: boolean;
}

export class ClockCache<V> {
  readonly #weightMax: number;
  /** In the order of the hand: the first is looked at next. */
  readonly #slots = new Map<string, Slot<V>>();
  #weight = 0;

  constructor(weightMax: number) {
    this.#weightMax = weightMax;
  }

  get weight(): number {
    return this.#weight;
  }

  get(key: string): V | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) return undefined;
    slot.used = true;
    return slot.value;
  }

  /** Takes nothing that is heavier than the whole cache. */
  set(key: string, value: V, weight: number): void {
    this.#remove(key);
    if (weight > this.#weightMax) return;
    this.#weight += weight;
    this.#slots.set(key, { value, weight, used: false });
    while (this.#weight > this.#weightMax) this.#evictOne(key);
  }

  #evictOne(newest: string): void {
    for (const [key, slot] of this.#slots) {
      this.#slots.delete(key);
      // The newest has had no time to be used; it goes last.
      if (slot.used || key === newest) {
        slot.used = false;
        this.#slots.set(key, slot);
        continue;
      }
      this.#weight -= slot.weight;
      return;
    }
  }

  #remove(key: string): void {
    const slot = this.#slots.get(key);
    if (slot === undefined) return;
    this.#slots.delete(key);
    this.#weight -= slot.weight;
  }
}
