/**
 * Whether a descriptor has something to read, asked by poll(2) in this very thread: for devices that no event loop watches,
 * where a read that waits would take a thread of its own. Linux only; null where the runtime cannot call the system's
 * library.
 */
import { readinessOf as readinessOnBun } from "./bun/readiness.ts";
import { readinessOf as readinessOnDeno } from "./deno/readiness.ts";
import { isDeno } from "./runtime.ts";

export interface Readiness {
  /** Waits up to so many milliseconds, and everything in this thread with it. True also where a read would fail. */
  isReadable(ms: number): boolean;
  /** Whether reads that come from now on wait for something to read, or fail with EAGAIN. */
  setWaiting(waits: boolean): void;
}

export function readinessOf(fd: number): Promise<Readiness | null> {
  return isDeno ? readinessOnDeno(fd) : readinessOnBun(fd);
}

/** Calls of the C library. */
export interface PollCalls {
  poll: (fds: Uint8Array) => (ms: number) => number;
  fcntl: (fd: number, command: number, argument: number) => number;
}

/** By its names on Linux: of glibc, and of musl. */
export const libcNames = ["libc.so.6", "libc.so"] as const;

const pollIn = 1;
const setFlags = 4;
const readWrite = 0o2;
const nonBlocking = 0o4000;

export function readinessBy({ poll, fcntl }: PollCalls, fd: number): Readiness {
  // struct pollfd: descriptor, what is asked for, what there is.
  const fds = new Uint8Array(8);
  const view = new DataView(fds.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, pollIn, true);
  const polled = poll(fds);
  return {
    isReadable: (ms) => polled(ms) > 0,
    setWaiting: (waits) => void fcntl(fd, setFlags, waits ? readWrite : readWrite | nonBlocking),
  };
}
