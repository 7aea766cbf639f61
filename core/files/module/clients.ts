/**
 * Clients that are gone: kernels that were removed, and those that have not said for their time that they are there.
 * What they had open, locked or shared is taken from them in bounded steps.
 */
import { takenPerStep } from "../../limits.ts";
import type { StateTables } from "../../state/module.ts";
import type { Counters } from "./counters.ts";
import type { Inodes } from "./inodes.ts";
import type { Locks } from "./locks.ts";
import type { Offsets } from "./offsets.ts";
import type { Opens } from "./opens.ts";
import { prepareAll } from "./statements.ts";
import type { Step } from "./step.ts";

const statements = {
  attend: `INSERT INTO files_attendee VALUES (?, ?, ?) ON CONFLICT (client)
    DO UPDATE SET ttl = excluded.ttl, ends = excluded.ends`,
  leave: "DELETE FROM files_attendee WHERE client = ?",
  ended: "SELECT client, ttl FROM files_attendee WHERE ends <= ? ORDER BY ends, client LIMIT ?",
  gone: "INSERT OR IGNORE INTO files_gone VALUES (?)",
  taken: "DELETE FROM files_gone WHERE client = ?",
  firstGone: "SELECT client FROM files_gone ORDER BY client LIMIT 1",
  isGone: "SELECT 1 FROM files_gone WHERE client = ?",
  allAttendees: "SELECT * FROM files_attendee ORDER BY client",
  allGone: "SELECT * FROM files_gone ORDER BY client",
};

interface Parts {
  counters: Counters;
  inodes: Inodes;
  opens: Opens;
  locks: Locks;
  offsets: Offsets;
}

/** Clients that one `expire` ends. */
const endedPerStep = 64;

export class Clients {
  readonly #sql;
  readonly #parts: Parts;

  constructor(tables: StateTables, parts: Parts) {
    this.#sql = prepareAll(tables, statements);
    this.#parts = parts;
  }

  attend(client: string, ttlMs: number, timeMs: number): void {
    this.#sql.attend.run(client, ttlMs, timeMs + ttlMs);
  }

  /** Whether it is being taken apart: what it had is not all gone yet. */
  isGone(client: string): boolean {
    return this.#sql.isGone.get(client) !== undefined;
  }

  /** Whether one's time is up. */
  isDue(timeMs: number): boolean {
    return this.#ended(timeMs).length > 0;
  }

  expire(step: Step): void {
    for (const client of this.#ended(step.timeMs)) this.#leave(client);
    this.takeFromGone(step, takenPerStep);
  }

  remove(client: string, step: Step): void {
    this.#leave(client);
    this.takeFromGone(step, takenPerStep);
  }

  /** Takes up to so many things from those that are gone; returns how many. */
  takeFromGone(step: Step, limit: number): number {
    let taken = 0;
    while (taken < limit) {
      const first = this.#sql.firstGone.get() as { client: string } | undefined;
      if (!first) break;
      const room = limit - taken;
      const from = this.#take(first.client, room, step);
      taken += from;
      if (from === room) break;
      this.#sql.taken.run(first.client);
      taken++;
    }
    return taken;
  }

  get someAreGone(): boolean {
    return this.#sql.firstGone.get() !== undefined;
  }

  *rows(): Iterable<unknown> {
    yield* this.#sql.allAttendees.iterate();
    yield* this.#sql.allGone.iterate();
  }

  #take(client: string, limit: number, step: Step): number {
    const { opens, inodes, locks, offsets } = this.#parts;
    let taken = locks.releaseClient(client, limit, step.index);
    for (const ino of opens.ofClient(client, limit - taken)) {
      opens.release(client, ino, inodes.find(ino), step.timeMs);
      taken++;
    }
    return taken + offsets.leaveClient(client, limit - taken);
  }

  #leave(client: string): void {
    this.#sql.leave.run(client);
    this.#sql.gone.run(client);
  }

  #ended(timeMs: number): string[] {
    const { serving } = this.#parts.counters.stored();
    const rows = this.#sql.ended.all(timeMs, endedPerStep) as { client: string; ttl: number }[];
    // After a takeover everybody has the full time again.
    return rows.filter(({ ttl }) => serving + ttl <= timeMs).map(({ client }) => client);
  }
}
