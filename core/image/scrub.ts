/**
 * Reads all blobs of a store, slowly, to find those that the disk no longer has as they were. A corrupt one is removed,
 * so that it counts as missing, and told to the caller, who has it fetched anew.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { scrubBytesPerSecond } from "../limits.ts";
import type { BlobState } from "./blob-file.ts";
import type { BlobStore } from "./blob-store.ts";
import { listBlobs } from "./list-blobs.ts";

export interface ScrubOptions {
  /** Infinity: as fast as the disk. */
  bytesPerSecond?: number;
  signal?: AbortSignal;
}

export interface Scrubbed {
  digest: string;
  state: BlobState;
}

/** Debts below this are not slept off: timers are not that exact. */
const sleepMinMs = 20;

export async function* scrub(store: BlobStore, options: ScrubOptions = {}): AsyncGenerator<Scrubbed> {
  const paced = pacer(options.bytesPerSecond ?? scrubBytesPerSecond, options.signal);
  for await (const digest of listBlobs(store.dir)) {
    options.signal?.throwIfAborted();
    yield { digest, state: await store.verify(digest, paced) };
  }
}

/** Sleeps so that the bytes told to it do not go beyond the rate. Time spent elsewhere is not made up for. */
function pacer(bytesPerSecond: number, signal: AbortSignal | undefined): (bytes: number) => Promise<void> {
  let owedMs = 0;
  return async (bytes) => {
    owedMs += (bytes / bytesPerSecond) * 1000;
    if (owedMs < sleepMinMs) return;
    const ms = owedMs;
    owedMs = 0;
    await sleep(ms, undefined, signal ? { signal } : {});
  };
}
