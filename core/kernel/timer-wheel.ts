/**
 * Deadlines of calls. Arming and disarming are a few assignments, and a call that ends before the next tick never
 * comes near the wheel: a timeout counts from the first tick after the call was made. So it is late by at most one
 * tick and never early, however long nobody has looked at the clock.
 *
 * A hierarchical timing wheel (Varghese and Lauck, SOSP 1987): level n has 64 slots of 64^n milliseconds.
 */
import type { Call } from "./call.ts";

const levelBits = 6;
const slotsPerLevel = 1 << levelBits;
const levels = 5;
/** Armed since the last tick. */
const fresh = levels * slotsPerLevel;
const paused = -2;
/** About twelve days: a longer timeout is as good as none. */
export const timeoutMsMax = 2 ** (levelBits * levels) - 1;

export class TimerWheel {
  #nowMs: number;
  readonly #heads: (Call | null)[] = Array.from({ length: fresh + 1 }, () => null);
  /** Armed calls. */
  length = 0;
  #freshTail: Call | null = null;

  readonly #onFresh: () => void;

  /** `onFresh` is called when a call is armed and none has been since the last tick: there is to be one soon. */
  constructor(nowMs: number, onFresh: () => void = () => {}) {
    this.#nowMs = Math.floor(nowMs);
    this.#onFresh = onFresh;
  }

  /** When a tick has something to do, at the earliest; Infinity: never. In the past for what was armed since the last. */
  get dueMs(): number {
    if (this.length === 0) return Infinity;
    if (this.#heads[fresh]) return this.#nowMs;
    let dueMs = Infinity;
    for (let level = 0; level < levels; level++) {
      const unitMs = 2 ** (levelBits * level);
      const current = Math.floor(this.#nowMs / unitMs);
      for (let ahead = 1; ahead <= slotsPerLevel; ahead++) {
        if (!this.#heads[level * slotsPerLevel + ((current + ahead) & (slotsPerLevel - 1))]) continue;
        // Of a higher level: when its calls go down to a lower one.
        dueMs = Math.min(dueMs, (current + ahead) * unitMs);
        break;
      }
    }
    return dueMs;
  }

  /** After `timeoutMs`, at least 0, the call is expired. It must not be armed. */
  arm(call: Call, timeoutMs: number): void {
    call.timerMs = timeoutMs;
    call.timerSlot = fresh;
    const tail = this.#freshTail;
    call.timerPrevious = tail;
    this.#freshTail = call;
    this.length++;
    if (tail) tail.timerNext = call;
    else {
      this.#heads[fresh] = call;
      this.#onFresh();
    }
  }

  disarm(call: Call): void {
    if (call.timerSlot < 0) return;
    this.length--;
    this.#unlink(call);
  }

  /** What is left of the call's timeout, armed or paused; −1: it has none. */
  remaining(call: Call): number {
    if (call.timerSlot === fresh || call.timerSlot === paused) return call.timerMs;
    return call.timerSlot < 0 ? -1 : Math.max(0, call.timerMs - this.#nowMs);
  }

  /** Its time stands still until it is resumed. */
  pause(call: Call): void {
    if (call.timerSlot < 0) return;
    const left = this.remaining(call);
    this.disarm(call);
    call.timerMs = left;
    call.timerSlot = paused;
  }

  resume(call: Call): void {
    if (call.timerSlot !== paused) return;
    call.timerSlot = -1;
    this.arm(call, call.timerMs);
  }

  /** The timeout of one call is another's from now on, which has none; paused. */
  hand(from: Call, to: Call): void {
    this.pause(from);
    to.timerSlot = from.timerSlot;
    to.timerMs = from.timerMs;
    from.timerSlot = -1;
  }

  /** Time has come this far: calls `expire` for each call whose time is up. It may arm and disarm others. */
  tick(nowMs: number, expire: (call: Call) => void): void {
    const now = Math.floor(nowMs);
    if (now > this.#nowMs) this.#advance(now, expire);
    for (let call = this.#takeAll(fresh); call;) {
      const next = call.timerNext;
      call.timerNext = null;
      call.timerPrevious = null;
      call.timerMs = this.#nowMs + Math.max(1, Math.min(Math.ceil(call.timerMs), timeoutMsMax));
      this.#place(call);
      call = next;
    }
  }

  #advance(now: number, expire: (call: Call) => void): void {
    while (this.#nowMs < now) {
      if (this.length === 0) {
        this.#nowMs = now;
        return;
      }
      this.#nowMs++;
      this.#cascade();
      for (;;) {
        const call = this.#heads[this.#nowMs & (slotsPerLevel - 1)];
        if (!call) break;
        this.disarm(call);
        expire(call);
      }
    }
  }

  /** At the turn of a level, the next slot of the level above is spread over it. */
  #cascade(): void {
    for (let level = 1; level < levels; level++) {
      if ((this.#nowMs & (2 ** (levelBits * level) - 1)) !== 0) return;
      const slot =
        level * slotsPerLevel + (Math.floor(this.#nowMs / 2 ** (levelBits * level)) & (slotsPerLevel - 1));
      for (let call = this.#takeAll(slot); call;) {
        const next = call.timerNext;
        call.timerNext = null;
        call.timerPrevious = null;
        this.#place(call);
        call = next;
      }
    }
  }

  /** By its deadline, which has not passed. */
  #place(call: Call): void {
    const delta = call.timerMs - this.#nowMs;
    let level = 0;
    while (level < levels - 1 && delta >= 2 ** (levelBits * (level + 1))) level++;
    const slot =
      level * slotsPerLevel + (Math.floor(call.timerMs / 2 ** (levelBits * level)) & (slotsPerLevel - 1));
    call.timerSlot = slot;
    const head = this.#heads[slot] ?? null;
    call.timerNext = head;
    if (head) head.timerPrevious = call;
    this.#heads[slot] = call;
  }

  /** The chain of a slot, which is empty then. */
  #takeAll(slot: number): Call | null {
    const head = this.#heads[slot] ?? null;
    this.#heads[slot] = null;
    if (slot === fresh) this.#freshTail = null;
    return head;
  }

  #unlink(call: Call): void {
    const { timerNext: next, timerPrevious: previous, timerSlot: slot } = call;
    if (previous) previous.timerNext = next;
    else this.#heads[slot] = next;
    if (next) next.timerPrevious = previous;
    else if (slot === fresh) this.#freshTail = previous;
    call.timerNext = null;
    call.timerPrevious = null;
    call.timerSlot = -1;
  }
}
