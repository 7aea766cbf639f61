/**
 * Deadlines of leases, kept in memory only: a restart gives every lease its whole time again, so that it may end
 * late and never early. The same happens when the process itself stood still (SIGSTOP, a suspended machine): nobody
 * could have renewed a lease meanwhile.
 */
import type { Clock } from "../clock.ts";
import type { LeaseRow } from "./table.ts";

/** A timer that is late by this much means that the process stood still. */
const standstillMs = 1_000;
/** A lease whose removal failed (disk full) is tried again after this. */
const retryMs = 1_000;

interface Lease {
  ttlMs: number;
  deadline: number;
  /** Its removal is under way. */
  ending: boolean;
}

export class Leases {
  readonly #clock: Clock;
  readonly #expire: (id: string) => Promise<void>;
  readonly #leases = new Map<string, Lease>();
  #cancelTimer: (() => void) | null = null;
  #timerAt = Infinity;

  /** `expire` removes a lease that is still due when it gets to run. */
  constructor(clock: Clock, expire: (id: string) => Promise<void>) {
    this.#clock = clock;
    this.#expire = expire;
  }

  /** Replaces all, each with its whole time to live. */
  load(rows: LeaseRow[]): void {
    this.#leases.clear();
    for (const row of rows) this.add(row);
  }

  add({ id, ttlSeconds }: LeaseRow): void {
    const ttlMs = ttlSeconds * 1_000;
    this.#leases.set(id, { ttlMs, deadline: this.#clock.now() + ttlMs, ending: false });
    this.#arm();
  }

  /** False when there is no such lease (any more). */
  renew(id: string): boolean {
    const lease = this.#leases.get(id);
    if (!lease) return false;
    lease.deadline = this.#clock.now() + lease.ttlMs;
    return true;
  }

  remove(id: string): void {
    this.#leases.delete(id);
  }

  isDue(id: string): boolean {
    const lease = this.#leases.get(id);
    return lease !== undefined && lease.deadline <= this.#clock.now();
  }

  close(): void {
    this.#leases.clear();
    this.#cancelTimer?.();
  }

  /** The timer stands at the first deadline or before it; renewals leave it where it is. */
  #arm(notBefore = 0): void {
    let next = Infinity;
    for (const { deadline, ending } of this.#leases.values()) if (!ending) next = Math.min(next, deadline);
    next = Math.max(next, notBefore);
    if (next === Infinity || next >= this.#timerAt) return;
    this.#cancelTimer?.();
    this.#timerAt = next;
    this.#cancelTimer = this.#clock.setTimer(next - this.#clock.now(), () => this.#fire());
  }

  #fire(): void {
    const now = this.#clock.now();
    const late = now - this.#timerAt;
    this.#timerAt = Infinity;
    if (late >= standstillMs) {
      for (const lease of this.#leases.values()) lease.deadline = now + lease.ttlMs;
    }
    for (const [id, lease] of this.#leases) {
      if (!lease.ending && this.isDue(id)) void this.#end(id, lease);
    }
    this.#arm();
  }

  async #end(id: string, lease: Lease): Promise<void> {
    lease.ending = true;
    let notBefore = 0;
    try {
      await this.#expire(id);
    } catch {
      notBefore = this.#clock.now() + retryMs;
    }
    // It is still there when that failed, or when it was renewed in the meantime.
    lease.ending = false;
    this.#arm(notBefore);
  }
}
