/** Locks that somebody waits for: each has a ticket, and the replicas tell which ones were granted. */
import { setTimeout } from "node:timers";
import { FileError } from "../errno.ts";
import type { LockRequest } from "../file-system.ts";
import type { FileFollow } from "../operations.ts";
import { numberIn, rowsIn } from "./results.ts";
import type { Volume } from "./volume.ts";

interface Wait {
  ino: number;
  granted(): void;
  failed(error: unknown): void;
}

/** Whose locks, and of which type. */
type Owned = Pick<LockRequest, "type" | "owner">;

const what = () => "wait for a lock";
const cancelling = () => "cancel the wait for a lock";

export class LockWaits {
  readonly #volume: Volume;
  readonly #waits = new Map<number, Wait>();
  #tickets = 0;
  /** Records up to this one have been told. */
  #toldTo = 0;
  #following: AbortController | null = null;
  #idle: ReturnType<typeof setTimeout> | undefined;
  /** Inode, type and owner of those that may hold one: a close that unlocks asks nobody for the others. */
  readonly #held = new Set<string>();
  /** Of those, what could not be given up yet. */
  readonly #givingUp = new Map<string, Promise<void>>();

  constructor(volume: Volume) {
    this.#volume = volume;
  }

  /**
   * `ask` writes the operation with a ticket, and resolves with whether the lock was granted at once; otherwise this
   * waits. Rejects with EINTR when the signal is aborted first: then the lock is not held. Where it rejects because no
   * replica answers, nobody waits by this ticket any more as soon as one does: a lock is not granted to who has left.
   */
  async wait(
    ino: number,
    signal: AbortSignal | null,
    ask: (ticket: number) => Promise<boolean>,
  ): Promise<void> {
    if (signal?.aborted) throw interrupted(ino);
    const ticket = ++this.#tickets;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => undefined);
    this.#waits.set(ticket, { ino, granted: resolve, failed: reject });
    this.#follow();
    const onAbort = () => void this.#cancel(ticket).then(resolve, reject);
    try {
      if (await ask(ticket)) return;
      if (signal?.aborted) onAbort();
      else signal?.addEventListener("abort", onAbort, { once: true });
      await promise;
    } catch (e) {
      if (!(e instanceof FileError)) void this.#volume.eventually([11, ino, ticket], cancelling);
      throw e;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#waits.delete(ticket);
      if (this.#waits.size === 0) this.#unfollowSoon();
    }
  }

  /** A lock is about to be asked for. */
  held(ino: number, lock: Owned): void {
    this.#held.add(keyOf(ino, lock));
  }
  mayHold(ino: number, lock: Owned): boolean {
    return this.#held.has(keyOf(ino, lock));
  }
  released(ino: number, lock: Owned): void {
    this.#held.delete(keyOf(ino, lock));
  }

  /** Its locks are given up as soon as a replica answers. */
  giveUp(ino: number, lock: Owned, done: Promise<void>): void {
    const key = keyOf(ino, lock);
    const given = done.then(() => {
      this.#held.delete(key);
      this.#givingUp.delete(key);
    });
    this.#givingUp.set(key, given);
  }
  /** Resolves once that is done: what is locked later is not to go with it. */
  givingUp(ino: number, lock: Owned): Promise<void> | undefined {
    return this.#givingUp.get(keyOf(ino, lock));
  }

  /** Resolves where it was granted before. */
  async #cancel(ticket: number): Promise<void> {
    const wait = this.#waits.get(ticket);
    if (!wait) return;
    const [granted] = await this.#volume.operate([11, wait.ino, ticket], cancelling);
    if (granted !== 1) throw interrupted(wait.ino);
  }

  #follow(): void {
    if (this.#following) return;
    const following = new AbortController();
    this.#following = following;
    void this.#tell(following).catch((e: unknown) => {
      if (this.#following === following) this.#following = null;
      for (const wait of this.#waits.values()) wait.failed(e);
    });
  }

  async #tell(following: AbortController): Promise<void> {
    // One record may grant several, of which not all were told: those of the last one come again.
    const query = (): FileFollow => ["granted", this.#volume.client, Math.max(0, this.#toldTo - 1)];
    const signal = AbortSignal.any([following.signal, this.#volume.closed]);
    for await (const value of this.#volume.follow(query(), query, signal)) {
      const [row] = rowsIn([value], what);
      this.#toldTo = Math.max(this.#toldTo, numberIn(row![1], what));
      this.#waits.get(numberIn(row![0], what))?.granted();
    }
    this.#volume.closed.throwIfAborted();
  }

  /** Whoever waits often waits again. */
  #unfollowSoon(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (this.#waits.size > 0) return;
      this.#following?.abort();
      this.#following = null;
    }, followedOnMs).unref();
  }
}

const followedOnMs = 5_000;

function keyOf(ino: number, { type, owner }: Owned): string {
  return `${ino} ${type} ${owner}`;
}

function interrupted(ino: number): FileError {
  return new FileError("EINTR", `cannot lock inode ${ino}: the wait was ended`);
}
