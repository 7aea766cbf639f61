/**
 * /dev/fuse: requests come by reading, each read one whole request; answers go by writing, each write one whole answer.
 * Several reads wait at a time, each in a thread of the runtime (`threadsFor`), so that requests come while others are
 * being carried out. An answer is written at once: the kernel only copies it.
 *
 * Buffers are a megabyte each, for the largest WRITE. Small requests are copied out of them, so that only large writes
 * hold one while they are carried out; with all in use nothing more is read, and the kernel's callers wait.
 */
import { read, write, writeSync, writevSync } from "node:fs";
import { dataBytesMax } from "./init.ts";

/** Reads that wait at a time: one that has come is handed over while the next is read. */
const readersCount = 4;
const buffersMax = 24;
/** The kernel refuses a buffer that does not hold a WRITE with its header. */
const bufferBytes = dataBytesMax + 4_096;
const copiedBytesMax = 16 * 1_024;

/** Threads of the runtime that wait in reads are no use to anything else that it does in threads. */
export const threadsWanted = readersCount + 6;

export interface DeviceUser {
  /** `done` gives the bytes back; to be called once. */
  onRequest(bytes: Uint8Array, done: () => void): void;
  /** It was unmounted, or the kernel has cut the connection. Once. */
  onEnd(why: string): void;
}

const nothing = () => {};

export class FuseDevice {
  readonly #fd: number;
  readonly #user: DeviceUser;
  readonly #free: Uint8Array[] = [];
  #buffers = 0;
  /** Readers without a buffer. */
  #starved = 0;
  #ended = false;

  constructor(fd: number, user: DeviceUser) {
    this.#fd = fd;
    this.#user = user;
  }

  start(): void {
    for (let i = 0; i < readersCount; i++) this.#next();
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
  }

  /** As one write, without putting them together. */
  sendData(header: Uint8Array, data: Uint8Array): void {
    try {
      writevSync(this.#fd, [header, data]);
    } catch (e) {
      this.#refused(e);
    }
  }

  /**
   * Resolves when the kernel has done it, which may have to wait for answers of this server: so in a thread. Never
   * rejects.
   */
  notify(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => write(this.#fd, bytes, 0, bytes.length, null, () => resolve()));
  }

  #next(): void {
    if (this.#ended) return;
    const buffer = this.#take();
    if (!buffer) {
      this.#starved++;
      return;
    }
    this.#read(buffer);
  }

  #read(buffer: Uint8Array): void {
    read(this.#fd, buffer, 0, buffer.length, null, (error, length) => {
      if (this.#ended) return;
      if (error) return this.#failed(error, buffer);
      if (length === 0) return this.#end("the device has ended");
      if (length <= copiedBytesMax) {
        const bytes = buffer.slice(0, length);
        this.#read(buffer);
        this.#user.onRequest(bytes, nothing);
        return;
      }
      this.#next();
      this.#user.onRequest(buffer.subarray(0, length), () => this.#give(buffer));
    });
  }

  #failed(error: NodeJS.ErrnoException, buffer: Uint8Array): void {
    switch (error.code) {
      // Its caller was killed before it was read; a signal; nothing there.
      case "ENOENT":
      case "EINTR":
      case "EAGAIN":
        return this.#read(buffer);
      case "ENODEV":
        return this.#end("unmounted");
      default:
        return this.#end(`reading /dev/fuse: ${error.message}`);
    }
  }

  #refused(e: unknown): void {
    const { code, message } = e as NodeJS.ErrnoException;
    if (code === "ENOENT") return;
    if (code === "ENODEV" || code === "EPERM") return this.#end("unmounted");
    throw new Error(`An answer that the kernel does not take: ${message}`, { cause: e });
  }

  #take(): Uint8Array | null {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#buffers === buffersMax) return null;
    this.#buffers++;
    return new Uint8Array(bufferBytes);
  }

  #give(buffer: Uint8Array): void {
    this.#free.push(buffer);
    if (this.#starved === 0) return;
    this.#starved--;
    this.#next();
  }

  #end(why: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#user.onEnd(why);
  }
}
