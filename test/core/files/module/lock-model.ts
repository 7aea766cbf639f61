/** Locks byte by byte: who holds each of 32 bytes, and one more for all that is behind them. */
import type { Random } from "../../../sim/harness/random.ts";

interface Wanted {
  client: string;
  owner: string;
  type: number;
  kind: number;
  start: number;
  end: number;
}
interface Waiter extends Wanted {
  ticket: number;
}

const bytes = 33;
const [flock, posix] = [0, 1];

export class LockModel {
  /** By type, client and owner: what it holds of each byte. */
  readonly #held = new Map<string, number[]>();
  #waiters: Waiter[] = [];
  readonly #granted = new Map<string, Set<number>>();
  #news: [client: string, ticket: number][] = [];
  readonly counts = { granted: 0, deadlocks: 0 };

  lock(wanted: Wanted, ticket: number): string | number {
    const request = { ...wanted, ...this.#range(wanted), ticket };
    // Asked again.
    const { client } = wanted;
    if (ticket > 0 && this.#waiters.some((each) => each.client === client && each.ticket === ticket))
      return 0;
    if (ticket > 0 && this.#granted.get(client)?.has(ticket)) return 1;
    if (request.kind === 0 || this.#blockers(request).length === 0) {
      this.#take(request);
      this.#grant();
      return 1;
    }
    if (ticket === 0) return "EAGAIN";
    if (request.type === posix && this.#waitsFor(request, this.#ownerOf(request))) {
      this.counts.deadlocks++;
      return "EDEADLK";
    }
    if (request.type === flock) {
      this.#held.delete(this.#ownerOf(request));
      this.#grant();
    }
    this.#waiters.push(request);
    return 0;
  }

  cancel(client: string, ticket: number): number {
    const at = this.#waiters.findIndex((waiter) => waiter.client === client && waiter.ticket === ticket);
    if (at >= 0) this.#waiters.splice(at, 1);
    return at < 0 && this.#granted.get(client)?.has(ticket) ? 1 : 0;
  }

  release(client: string): void {
    this.#waiters = this.#waiters.filter((waiter) => waiter.client !== client);
    for (const owner of this.#held.keys()) if (owner.split("|")[1] === client) this.#held.delete(owner);
    this.#grant();
  }

  /** Of a wait, or of one that was granted. */
  anyTicket(random: Random, client: string): number {
    const waiting = this.#waiters.filter((waiter) => waiter.client === client);
    const tickets = [...waiting.map(({ ticket }) => ticket), ...(this.#granted.get(client) ?? [])];
    return tickets.length > 0 ? random.pick(tickets) : 0;
  }

  takeGranted(client: string): number[] {
    const mine = this.#news.filter(([to]) => to === client).map(([, ticket]) => ticket);
    this.#news = this.#news.filter(([to]) => to !== client);
    return mine.sort((a, b) => a - b);
  }

  isHeld(type: number, at: number, alone: boolean): boolean {
    for (const [owner, held] of this.#held) {
      if (owner.startsWith(`${type}|`) && held[at]! > (alone ? 1 : 0)) return true;
    }
    return false;
  }

  /** Of the flock that is in the way of this one: its kind; 0: none is. */
  flockInWay(wanted: Wanted): number {
    const [first] = this.#blockers({ ...wanted, start: 0, end: bytes }).sort(byClientAndOwner);
    return first === undefined ? 0 : this.#held.get(first)![0]!;
  }

  #range({ type, start, end }: Wanted): { start: number; end: number } {
    if (type === flock) return { start: 0, end: bytes };
    return { start, end: end < 0 ? bytes : end };
  }

  #ownerOf({ type, client, owner }: Wanted): string {
    return `${type}|${client}|${owner}`;
  }

  #blockers(request: Wanted): string[] {
    const own = this.#ownerOf(request);
    return [...this.#held].flatMap(([owner, held]) => {
      if (owner === own || !owner.startsWith(`${request.type}|`)) return [];
      const least = request.kind === 2 ? 1 : 2;
      return held.slice(request.start, request.end).some((kind) => kind >= least) ? [owner] : [];
    });
  }

  /** Whether a request waits, itself or through others, for this owner. */
  #waitsFor(request: Wanted, target: string, seen = new Set<string>()): boolean {
    return this.#blockers(request).some((owner) => {
      if (owner === target) return true;
      if (seen.has(owner)) return false;
      seen.add(owner);
      const waiting = this.#waiters.filter((waiter) => this.#ownerOf(waiter) === owner);
      return waiting.some((waiter) => this.#waitsFor(waiter, target, seen));
    });
  }

  #take(request: Wanted): void {
    const owner = this.#ownerOf(request);
    const held = this.#held.get(owner) ?? Array.from({ length: bytes }, () => 0);
    held.fill(request.kind, request.start, request.end);
    this.#held.set(owner, held);
  }

  #grant(): void {
    let more = false;
    for (const waiter of [...this.#waiters]) {
      if (this.#blockers(waiter).length > 0) continue;
      more = true;
      this.#take(waiter);
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      this.counts.granted++;
      this.#news.push([waiter.client, waiter.ticket]);
      this.#granted.set(waiter.client, (this.#granted.get(waiter.client) ?? new Set()).add(waiter.ticket));
    }
    if (more) this.#grant();
  }
}

function byClientAndOwner(a: string, b: string): number {
  const [, client, owner] = a.split("|") as [string, string, string];
  const [, client2, owner2] = b.split("|") as [string, string, string];
  if (client !== client2) return client < client2 ? -1 : 1;
  return owner < owner2 ? -1 : 1;
}
