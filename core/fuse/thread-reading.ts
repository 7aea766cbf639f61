/**
 * Reads that wait in threads of the runtime, several at a time: one that has come is handed over while the next is read.
 * For runtimes that cannot poll (turn-reading.ts).
 */
import { read } from "node:fs";
import type { Reading, ReadingUser } from "./reading.ts";

export class ThreadReading implements Reading {
  readonly #fd: number;
  readonly #user: ReadingUser;
  readonly #readers: number;
  /** Readers without a buffer. */
  #starved = 0;

  constructor(fd: number, user: ReadingUser, readers: number) {
    this.#fd = fd;
    this.#user = user;
    this.#readers = readers;
  }

  start(): void {
    for (let i = 0; i < this.#readers; i++) this.#next();
  }

  answered(): void {}

  fed(): void {
    if (this.#starved === 0) return;
    this.#starved--;
    this.#next();
  }

  #next(): void {
    if (this.#user.hasEnded) return;
    const buffer = this.#user.take();
    if (buffer) this.#read(buffer);
    else this.#starved++;
  }

  #read(buffer: Uint8Array): void {
    read(this.#fd, buffer, 0, buffer.length, null, (error, length) => {
      if (error && this.#user.failed(error)) return this.#read(buffer);
      if (error || this.#user.hasEnded) return;
      this.#next();
      this.#user.came(buffer, length);
    });
  }
}
