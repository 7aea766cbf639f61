/**
 * Advisory locks: whole files by open file description (flock) and ranges by process (posix), which do not see each
 * other. Whoever waits stands in a queue; with each lock that goes, those who are not in anybody's way any more get
 * theirs, the first first. A client learns of it by its ticket (`granted`), which is kept for a while.
 */
import { fileSizeMax, grantsKept, lockOwnersSeenMax, locksPerFileMax, lockWaitersMax } from "../../limits.ts";
import type { StateTables } from "../../state/module.ts";
import type { Counters } from "./counters.ts";
import { isInWay, isSameOwner, type Lock, lockKinds, lockTypes, withLock } from "./lock-ranges.ts";
import { refuse } from "./refusal.ts";
import { prepareAll } from "./statements.ts";

const columns = "client, owner, start, end, kind, pid";
const statements = {
  inWay: `SELECT ${columns} FROM files_lock WHERE ino = ?1 AND type = ?2 AND start < ?4 AND end > ?3
    AND (kind = 2 OR ?5 = 2) AND NOT (client = ?6 AND owner = ?7) ORDER BY start, client, owner LIMIT ?8`,
  own: `SELECT ${columns} FROM files_lock WHERE ino = ? AND type = ? AND client = ? AND owner = ? ORDER BY start`,
  count: "SELECT count(*) AS n FROM files_lock WHERE ino = ? AND type = ?",
  held: `SELECT ${columns} FROM files_lock WHERE ino = ? AND type = ? ORDER BY start, client, owner`,
  put: "INSERT INTO files_lock VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  remove: "DELETE FROM files_lock WHERE ino = ? AND type = ? AND client = ? AND owner = ? AND start = ?",
  inosOfClient: "SELECT DISTINCT ino FROM files_lock WHERE client = ? ORDER BY ino LIMIT ?",
  removeOfClient: "DELETE FROM files_lock WHERE client = ? AND ino = ?",
  removeOfInode: "DELETE FROM files_lock WHERE ino = ?",
  waiting: `SELECT place, ${columns}, ticket FROM files_waiter WHERE ino = ? AND type = ? ORDER BY place`,
  waitersOf: `SELECT ino, type, ${columns} FROM files_waiter WHERE client = ? AND owner = ? AND type = 1 ORDER BY place`,
  waiters: "SELECT count(*) AS n FROM files_waiter WHERE ino = ? AND type = ?",
  waiter: "SELECT place FROM files_waiter WHERE client = ? AND ticket = ?",
  wait: `INSERT INTO files_waiter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  leave: "DELETE FROM files_waiter WHERE place = ?",
  leaveClient: "DELETE FROM files_waiter WHERE client = ?",
  leaveClientInode: "DELETE FROM files_waiter WHERE client = ? AND ino = ?",
  leaveInode: "DELETE FROM files_waiter WHERE ino = ?",
  granted: "SELECT 1 FROM files_grant WHERE client = ? AND ticket = ?",
  grant: "INSERT OR REPLACE INTO files_grant VALUES (?, ?, ?)",
  forget: "DELETE FROM files_grant WHERE client = ? AND ticket <= ?",
  grants: `SELECT ticket, record FROM files_grant WHERE client = ?1 AND (record > ?2 OR (record = ?2 AND ticket > ?3))
    ORDER BY record, ticket LIMIT ?4`,
  allLocks: "SELECT * FROM files_lock ORDER BY ino, type, client, owner, start",
  allWaiters: "SELECT * FROM files_waiter ORDER BY place",
  allGrants: "SELECT * FROM files_grant ORDER BY client, ticket",
};

export interface WantedLock extends Lock {
  readonly ino: number;
  readonly type: number;
}
interface Waiter extends Lock {
  readonly place: number;
  readonly ticket: number;
}

/** As operations say ranges: −1 is no end. A flock is of the whole file. EINVAL for an empty range. */
export function rangeOf(type: number, start: number, end: number): { start: number; end: number } {
  if (type === lockTypes.flock) return { start: 0, end: fileSizeMax };
  const last = end < 0 ? fileSizeMax : end;
  return last > start ? { start, end: last } : refuse("EINVAL");
}

export class Locks {
  readonly #sql;
  readonly #counters: Counters;
  #epoch = 0;

  constructor(tables: StateTables, counters: Counters) {
    this.#sql = prepareAll(tables, statements);
    this.#counters = counters;
  }

  /** Rises when all locks, and those who wait, have gone at once. */
  get epoch(): number {
    return this.#epoch;
  }
  forget(): void {
    this.#epoch++;
  }

  /** True: it has it. False: it waits, by its ticket. EAGAIN without one; EDEADLK, ENOLCK. */
  lock(wanted: WantedLock, ticket: number, index: number): boolean {
    const { ino, type, client } = wanted;
    // Asked again.
    if (ticket > 0 && this.#sql.waiter.get(client, ticket)) return false;
    if (ticket > 0 && this.#sql.granted.get(client, ticket)) return true;
    const own = this.#sql.own.all(ino, type, client, wanted.owner) as unknown as Lock[];
    const isFree = wanted.kind === lockKinds.none || this.#inWay(wanted, 1).length === 0;
    if (isFree) {
      this.#checkRoom(own, wanted);
      this.#take(wanted, own);
      // An exclusive lock that becomes a shared one, or ends, lets others in.
      if (own.length > 0) this.#grantWaiting(ino, type, index);
      return true;
    }
    if (ticket === 0) refuse("EAGAIN");
    if (type === lockTypes.posix && this.#isCircle(wanted)) refuse("EDEADLK");
    if ((this.#sql.waiters.get(ino, type) as { n: number }).n >= lockWaitersMax) refuse("ENOLCK");
    // As Linux: a flock that is to become another is given up first, or two of them would wait for each other.
    if (type === lockTypes.flock && own.length > 0) {
      this.#take({ ...wanted, kind: lockKinds.none }, own);
      this.#grantWaiting(ino, type, index);
    }
    const { owner, start, end, kind, pid } = wanted;
    this.#sql.wait.run(this.#counters.nextId(), ino, type, client, owner, start, end, kind, pid, ticket);
    return false;
  }

  /** Whoever waits by this ticket waits no more. True: it had got the lock before. */
  cancel(client: string, ticket: number): boolean {
    const waiter = this.#sql.waiter.get(client, ticket) as { place: number } | undefined;
    if (!waiter) return this.#sql.granted.get(client, ticket) !== undefined;
    this.#sql.leave.run(waiter.place);
    return false;
  }

  /** The first lock that is in the way of this one. */
  inWayOf(wanted: WantedLock): Lock | undefined {
    return this.#inWay(wanted, 1)[0];
  }

  /** A client has a file open no more. */
  release(client: string, ino: number, index: number): void {
    this.#sql.leaveClientInode.run(client, ino);
    const { changes } = this.#sql.removeOfClient.run(client, ino);
    if (changes > 0) this.#grantAll(ino, index);
  }

  /** Takes from a client that is gone the locks of so many files; returns how many there were. */
  releaseClient(client: string, limit: number, index: number): number {
    this.#sql.leaveClient.run(client);
    this.#sql.forget.run(client, Number.MAX_SAFE_INTEGER);
    const rows = this.#sql.inosOfClient.all(client, limit) as { ino: number }[];
    for (const { ino } of rows) this.release(client, ino, index);
    return rows.length;
  }

  /** The file is gone. */
  removed(ino: number): void {
    this.#sql.removeOfInode.run(ino);
    this.#sql.leaveInode.run(ino);
  }

  /** What a client has got behind this record and ticket, in their order. */
  grants(
    client: string,
    record: number,
    ticket: number,
    limit: number,
  ): { ticket: number; record: number }[] {
    return this.#sql.grants.all(client, record, ticket, limit) as { ticket: number; record: number }[];
  }

  *rows(): Iterable<unknown> {
    yield* this.#sql.allLocks.iterate();
    yield* this.#sql.allWaiters.iterate();
    yield* this.#sql.allGrants.iterate();
  }

  #inWay({ ino, type, start, end, kind, client, owner }: WantedLock, limit: number): Lock[] {
    return this.#sql.inWay.all(ino, type, start, end, kind, client, owner, limit) as unknown as Lock[];
  }

  #take({ ino, type, ...wanted }: WantedLock, own: readonly Lock[]): { removed: Lock[]; added: Lock[] } {
    const { removed, added } = withLock(own, wanted);
    for (const { client, owner, start } of removed) this.#sql.remove.run(ino, type, client, owner, start);
    for (const { client, owner, start, end, kind, pid } of added) {
      this.#sql.put.run(ino, type, client, owner, start, end, kind, pid);
    }
    return { removed, added };
  }

  #checkRoom(own: readonly Lock[], wanted: WantedLock): void {
    const { removed, added } = withLock(own, wanted);
    const more = added.length - removed.length;
    if (more <= 0) return;
    const { n } = this.#sql.count.get(wanted.ino, wanted.type) as { n: number };
    if (n + more > locksPerFileMax) refuse("ENOLCK");
  }

  #grantAll(ino: number, index: number): void {
    this.#grantWaiting(ino, lockTypes.flock, index);
    this.#grantWaiting(ino, lockTypes.posix, index);
  }

  #grantWaiting(ino: number, type: number, index: number): void {
    const waiting = this.#sql.waiting.all(ino, type) as unknown as Waiter[];
    if (waiting.length === 0) return;
    let held = this.#sql.held.all(ino, type) as unknown as Lock[];
    let isConverted = false;
    for (const { place, ticket, ...wanted } of waiting) {
      if (held.some((lock) => isInWay(lock, wanted))) continue;
      const own = held.filter((lock) => isSameOwner(lock, wanted));
      const { removed, added } = this.#take({ ...wanted, ino, type }, own);
      isConverted ||= removed.length > 0;
      held = [...held.filter((lock) => !removed.includes(lock)), ...added];
      this.#sql.leave.run(place);
      this.#sql.grant.run(wanted.client, ticket, index);
      this.#sql.forget.run(wanted.client, ticket - grantsKept);
    }
    // One of them may hold less than before, and so be in the way of those before it no more.
    if (isConverted) this.#grantWaiting(ino, type, index);
  }

  /** Whether an owner that is in the way waits, itself or through others, for whoever wants this lock. */
  #isCircle(wanted: WantedLock): boolean {
    const seen = new Set<string>();
    const toSee = this.#inWay(wanted, lockOwnersSeenMax);
    for (let lock = toSee.pop(); lock && seen.size < lockOwnersSeenMax; lock = toSee.pop()) {
      if (isSameOwner(lock, wanted)) return true;
      const key = `${lock.client}\0${lock.owner}`;
      if (seen.has(key)) continue;
      seen.add(key);
      for (const waiter of this.#sql.waitersOf.all(lock.client, lock.owner) as unknown as WantedLock[]) {
        toSee.push(...this.#inWay(waiter, lockOwnersSeenMax));
      }
    }
    return false;
  }
}
