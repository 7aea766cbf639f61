/**
 * Reads requests in the event loop's own thread. No loop watches /dev/fuse, and a read that waits takes another thread and
 * two wake-ups more than the request itself. So after each request the device is asked for the next one, and waited for a
 * moment where there is nothing else to do:
 *
 *     turning ─ nothing for a moment, nothing under way ─▶ resting: one read waits in a thread
 *      │ ▲ ▲                                                  │ ▲
 *      │ │ └─────────────── a request has come ───────────────┘ │
 *      │ └─ an answer goes ─ idling ─ too long ─────────────────┤
 *      └─ nothing, and what has come is under way ─▶ idling     │
 *      └─ nothing, and another one is under way ────────────────┘
 *
 * Idling is for one program alone, which asks for nothing while it waits for an answer.
 */
import { read, readSync } from "node:fs";
import type { Readiness } from "../platform/readiness.ts";
import type { Reading, ReadingUser } from "./reading.ts";

/** A program goes on with its next request within this time; else a thread waits for it. */
const turnMs = 1;
/** So long others wait at the most while one waits for an answer. */
const idleMs = 1;

export class TurnReading implements Reading {
  readonly #fd: number;
  readonly #user: ReadingUser;
  readonly #readiness: Readiness;
  /** A request has been answered since the last one came. */
  #hasAnswered = false;
  #idling: ReturnType<typeof setTimeout> | undefined;
  #starved: (() => void) | null = null;

  constructor(fd: number, user: ReadingUser, readiness: Readiness) {
    this.#fd = fd;
    this.#user = user;
    this.#readiness = readiness;
  }

  start(): void {
    this.#rest();
  }

  answered(): void {
    this.#hasAnswered = true;
    if (this.#idling === undefined) return;
    clearTimeout(this.#idling);
    this.#idling = undefined;
    this.#turnSoon();
  }

  fed(): void {
    const goOn = this.#starved;
    this.#starved = null;
    goOn?.();
  }

  /** What can be answered at once is answered by then. */
  #turnSoon(): void {
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    if (this.#user.hasEnded) return;
    const { isBusy } = this.#user;
    if (!this.#readiness.isReadable(isBusy ? 0 : turnMs)) {
      if (isBusy && !this.#hasAnswered) this.#idle();
      else this.#rest();
      return;
    }
    const buffer = this.#user.take();
    if (!buffer) {
      this.#starved = () => this.#turn();
      return;
    }
    let length = 0;
    try {
      length = readSync(this.#fd, buffer, 0, buffer.length, null);
    } catch (e) {
      this.#user.release(buffer);
      if (this.#user.failed(e as NodeJS.ErrnoException)) this.#turnSoon();
      return;
    }
    this.#took(buffer, length);
  }

  #took(buffer: Uint8Array, length: number): void {
    this.#hasAnswered = false;
    this.#user.came(buffer, length);
    this.#turnSoon();
  }

  #idle(): void {
    this.#idling = setTimeout(() => {
      this.#idling = undefined;
      this.#rest();
    }, idleMs);
  }

  #rest(): void {
    if (this.#user.hasEnded) return;
    const buffer = this.#user.take();
    if (!buffer) {
      this.#starved = () => this.#rest();
      return;
    }
    this.#readiness.setWaiting(true);
    this.#wait(buffer);
  }

  #wait(buffer: Uint8Array): void {
    read(this.#fd, buffer, 0, buffer.length, null, (error, length) => {
      if (error && this.#user.failed(error)) return this.#wait(buffer);
      if (error || this.#user.hasEnded) return;
      this.#readiness.setWaiting(false);
      this.#took(buffer, length);
    });
  }
}
