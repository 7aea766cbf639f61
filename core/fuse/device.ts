/**
 * /dev/fuse: requests come by reading, each read one whole request (reading.ts); answers go by writing, each write one
 * whole answer, at once, since the kernel only copies it.
 *
 * Buffers are a megabyte each, for the largest WRITE. Small requests are copied out of them, so that only large writes
 * hold one while they are carried out; with all in use nothing more is read, and the kernel's callers wait.
 */
import { write, writeSync, writevSync } from "node:fs";
import type { Readiness } from "../platform/readiness.ts";
import { dataBytesMax } from "./init.ts";
import type { Reading, ReadingUser } from "./reading.ts";
import { ThreadReading } from "./thread-reading.ts";
import { TurnReading } from "./turn-reading.ts";

/** Reads that wait in threads, where the runtime cannot poll. */
const readersCount = 4;
const buffersMax = 24;
/** The kernel refuses a buffer that does not hold a WRITE with its header. */
const bufferBytes = dataBytesMax + 4_096;
const copiedBytesMax = 16 * 1_024;

/** Threads of the runtime that wait in reads are no use to anything else that it does in threads. */
export const threadsWanted = readersCount + 6;

export interface DeviceUser {
  /** Some request has no answer yet. */
  readonly isBusy: boolean;
  /** `done` gives the bytes back; to be called once. */
  onRequest(bytes: Uint8Array, done: () => void): void;
  /** It was unmounted, or the kernel has cut the connection. Once. */
  onEnd(why: string): void;
}

const nothing = () => {};

export class FuseDevice implements ReadingUser {
  readonly #fd: number;
  readonly #user: DeviceUser;
  readonly #reading: Reading;
  readonly #free: Uint8Array[] = [];
  #buffers = 0;
  #ended = false;

  /** Without `readiness` threads wait for requests. */
  constructor(fd: number, user: DeviceUser, readiness: Readiness | null) {
    this.#fd = fd;
    this.#user = user;
    this.#reading = readiness
      ? new TurnReading(fd, this, readiness)
      : new ThreadReading(fd, this, readersCount);
  }

  get hasEnded(): boolean {
    return this.#ended;
  }
  get isBusy(): boolean {
    return this.#user.isBusy;
  }

  start(): void {
    this.#reading.start();
  }

  /** The descriptor is somebody else's from now on. */
  stop(): void {
    this.#ended = true;
  }

  /**
   * One write. What the kernel does not want any more, because its caller was killed, is no failure. Throws where it does
   * not take it: the request is not answered then.
   */
  send(bytes: Uint8Array): void {
    try {
      writeSync(this.#fd, bytes);
    } catch (e) {
      this.#refused(e);
    }
    this.#reading.answered();
  }

  /** As one write, without putting them together. */
  sendData(header: Uint8Array, data: Uint8Array): void {
    try {
      writevSync(this.#fd, [header, data]);
    } catch (e) {
      this.#refused(e);
    }
    this.#reading.answered();
  }

  /**
   * Resolves when the kernel has done it, which may have to wait for answers of this server: so in a thread. Never
   * rejects.
   */
  notify(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => write(this.#fd, bytes, 0, bytes.length, null, () => resolve()));
  }

  take(): Uint8Array | null {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#buffers === buffersMax) return null;
    this.#buffers++;
    return new Uint8Array(bufferBytes);
  }

  release(buffer: Uint8Array): void {
    this.#free.push(buffer);
    this.#reading.fed();
  }

  came(buffer: Uint8Array, length: number): void {
    if (length === 0) return this.#end("the device has ended");
    if (length > copiedBytesMax) {
      this.#user.onRequest(buffer.subarray(0, length), () => this.release(buffer));
      return;
    }
    const bytes = buffer.slice(0, length);
    this.release(buffer);
    this.#user.onRequest(bytes, nothing);
  }

  failed(error: NodeJS.ErrnoException): boolean {
    if (this.#ended) return false;
    switch (error.code) {
      // Its caller was killed before it was read; a signal; nothing there.
      case "ENOENT":
      case "EINTR":
      case "EAGAIN":
        return true;
      case "ENODEV":
        this.#end("unmounted");
        return false;
      default:
        this.#end(`reading /dev/fuse: ${error.message}`);
        return false;
    }
  }

  #refused(e: unknown): void {
    const { code, message } = e as NodeJS.ErrnoException;
    if (code === "ENOENT") return;
    if (code === "ENODEV" || code === "EPERM") return this.#end("unmounted");
    throw new Error(`An answer that the kernel does not take: ${message}`, { cause: e });
  }

  #end(why: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#user.onEnd(why);
  }
}
