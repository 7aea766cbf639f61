/**
 * Which kernel leases which slots: ranges that together are all slots, in order. A range that has been leased before
 * keeps the number of its last lease, and the next one counts on from there: each lease has generations of its own, so
 * that no two kernels can ever give out the same endpoint.
 */
import { generationsPerLease } from "../limits.ts";
import { type Endpoint, generationMax, generationOf, slotOf, slotsMax } from "./endpoint.ts";
import type { KernelId } from "./view.ts";

export interface SlotRange {
  start: number;
  count: number;
  /** 0: nobody. */
  kernel: KernelId;
  /** Number of its present or last lease, from 1; 0: never leased. */
  lease: number;
}

const leasesMax = generationMax / generationsPerLease;

/** First and last generation that a kernel may give out under a lease. */
export function generationsOf(lease: number): { first: number; last: number } {
  return { first: (lease - 1) * generationsPerLease + 1, last: lease * generationsPerLease - 1 };
}

export class SlotRanges {
  #ranges: SlotRange[] = [{ start: 0, count: slotsMax, kernel: 0, lease: 0 }];

  /** The range that has this slot. */
  at(slot: number): SlotRange {
    const ranges = this.#ranges;
    let low = 0;
    let high = ranges.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (ranges[middle]!.start <= slot) low = middle;
      else high = middle - 1;
    }
    return ranges[low]!;
  }

  /** The kernel that may give out this endpoint now; 0 if none may. */
  lessee(endpoint: Endpoint): KernelId {
    const range = this.at(slotOf(endpoint));
    if (range.kernel === 0) return 0;
    const { first, last } = generationsOf(range.lease);
    const generation = generationOf(endpoint);
    return generation >= first && generation <= last ? range.kernel : 0;
  }

  /** Whether some kernel may have given out this endpoint, now or before. */
  mayHaveBeen(endpoint: Endpoint): boolean {
    return generationOf(endpoint) <= generationsOf(this.at(slotOf(endpoint)).lease).last;
  }

  /** The first free range of that many slots, else the largest there is; undefined when all are taken. */
  lease(kernel: KernelId, count: number): SlotRange | undefined {
    let best = -1;
    for (const [i, range] of this.#ranges.entries()) {
      if (range.kernel !== 0 || range.lease >= leasesMax) continue;
      if (best < 0 || range.count > this.#ranges[best]!.count) best = i;
      if (range.count >= count) {
        best = i;
        break;
      }
    }
    const free = this.#ranges[best];
    if (!free) return undefined;
    const taken = { start: free.start, count: Math.min(count, free.count), kernel, lease: free.lease + 1 };
    const rest = { ...free, start: taken.start + taken.count, count: free.count - taken.count };
    this.#ranges.splice(best, 1, ...(rest.count > 0 ? [taken, rest] : [taken]));
    return { ...taken };
  }

  /** All ranges of the kernel are free again. */
  release(kernel: KernelId): void {
    const merged: SlotRange[] = [];
    for (const range of this.#ranges) {
      const freed = range.kernel === kernel ? { ...range, kernel: 0 } : range;
      const last = merged.at(-1);
      // Free neighbours are one range under the higher of their numbers: generations are many.
      if (last && last.kernel === 0 && freed.kernel === 0) {
        merged[merged.length - 1] = {
          ...last,
          count: last.count + freed.count,
          lease: Math.max(last.lease, freed.lease),
        };
      } else merged.push(freed);
    }
    this.#ranges = merged;
  }

  toJSON(): SlotRange[] {
    return this.#ranges.map((range) => ({ ...range }));
  }
  static from(ranges: readonly SlotRange[]): SlotRanges {
    const slots = new SlotRanges();
    slots.#ranges = ranges.map((range) => ({ ...range }));
    return slots;
  }
}
