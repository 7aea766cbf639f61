/** The processes of one kernel by endpoint, and the slots that it leases for new ones. */
import { type Endpoint, endpointOf, generationOf, slotOf } from "./endpoint.ts";
import type { Proc } from "./proc.ts";
import { generationsOf, type SlotRange } from "./slot-ranges.ts";

interface Slot {
  slot: number;
  /** The next generation to be given out, and the last of the lease. */
  next: number;
  last: number;
}

export class EndpointTable {
  readonly #procs = new Map<Endpoint, Proc>();
  readonly #slots = new Map<number, Slot>();
  /** Longest unused first, so that an endpoint that somebody remembers stays recognizable for long. */
  readonly #free: Slot[] = [];

  get size(): number {
    return this.#procs.size;
  }
  /** Slots that this kernel leases, free or not: never fewer. */
  get slots(): number {
    return this.#slots.size;
  }
  all(): IterableIterator<Proc> {
    return this.#procs.values();
  }

  find(endpoint: Endpoint): Proc | undefined {
    return this.#procs.get(endpoint);
  }

  /** A new endpoint; 0 when no slot is free. */
  allocate(): Endpoint {
    const slot = this.#free.shift();
    return slot ? endpointOf(slot.slot, slot.next++) : 0;
  }

  add(proc: Proc): void {
    this.#procs.set(proc.endpoint, proc);
  }

  /** The slot is free again, if it is one of this kernel's. */
  remove(endpoint: Endpoint): void {
    this.#procs.delete(endpoint);
    const slot = this.#slots.get(slotOf(endpoint));
    if (slot && generationOf(endpoint) === slot.next - 1 && slot.next <= slot.last) this.#free.push(slot);
  }

  /** Slots that a record has given to this kernel. */
  addRange({ start, count, lease }: SlotRange): void {
    const { first, last } = generationsOf(lease);
    for (let slot = start; slot < start + count; slot++) {
      const added = { slot, next: first, last };
      this.#slots.set(slot, added);
      this.#free.push(added);
    }
  }

  /** Whether this kernel has given out the endpoint: if it is not bound now, it never will be again. */
  hasBeen(endpoint: Endpoint): boolean {
    const slot = this.#slots.get(slotOf(endpoint));
    return slot !== undefined && generationOf(endpoint) < slot.next;
  }
}
