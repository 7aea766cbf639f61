/**
 * Brings blobs from a remote into a store, several packs at a time. What arrived before a connection broke is not
 * fetched again; a blob whose content is wrong is, a few times. Rejects naming the blob that nobody could give.
 */
import { DvsError } from "../errors.ts";
import {
  pullConcurrency,
  pullPackBlobs,
  pullPackBytes,
  transferAttemptsMax,
  transferStallMs,
} from "../limits.ts";
import { Attempts } from "./attempts.ts";
import type { BlobStore } from "./blob-store.ts";
import { diskFull, freeBytes } from "./disk.ts";
import { decodePack } from "./pack-decode.ts";
import type { Remote, TransferOptions, TransferProgress } from "./remote.ts";

export interface FetchOptions extends TransferOptions {
  /** Packs under way at once. */
  concurrency?: number;
  /** No byte for this long counts as a broken connection. */
  stallMs?: number;
}

/** `wanted` is digest to size. On return all are stored and survive a power cut. Returns what had to be fetched. */
export async function fetchBlobs(
  wanted: ReadonlyMap<string, number>,
  remote: Pick<Remote, "fetch">,
  store: BlobStore,
  options: FetchOptions = {},
): Promise<{ blobs: number; bytes: number }> {
  const fetching = new Fetching(wanted, await store.missing(wanted.keys()), remote, store, options);
  await fetching.run();
  await store.flush();
  const [lost] = await store.missing(wanted.keys());
  if (lost) {
    throw new DvsError("UNAVAILABLE", `Cannot store blob ${lost} in ${store.dir}: the disk did not keep it`);
  }
  const { blobs, bytes } = fetching.progress;
  return { blobs, bytes };
}

class Fetching {
  readonly progress: TransferProgress;
  readonly #wanted: ReadonlyMap<string, number>;
  readonly #remote: Pick<Remote, "fetch">;
  readonly #store: BlobStore;
  readonly #options: FetchOptions;
  /** To fetch, by none of the workers yet. */
  readonly #queue: string[];
  /** How often a blob came wrong, or not although it was there. */
  readonly #refused = new Map<string, number>();
  /** Set when one blob was refused too often. */
  #gaveUp: DvsError | undefined;
  /** Ends the other workers when one gives up. */
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;

  constructor(
    wanted: ReadonlyMap<string, number>,
    missing: string[],
    remote: Pick<Remote, "fetch">,
    store: BlobStore,
    options: FetchOptions,
  ) {
    this.#wanted = wanted;
    this.#queue = missing;
    this.#remote = remote;
    this.#store = store;
    this.#options = options;
    this.#signal = options.signal ? AbortSignal.any([options.signal, this.#stop.signal]) : this.#stop.signal;
    this.progress = {
      blobs: 0,
      blobsTotal: missing.length,
      bytes: 0,
      bytesTotal: missing.reduce((sum, digest) => sum + this.#sizeOf(digest), 0),
    };
  }

  async run(): Promise<void> {
    const { bytesTotal, blobsTotal } = this.progress;
    this.#options.onProgress?.({ ...this.progress });
    if (blobsTotal === 0) return;
    if ((await freeBytes(this.#store.dir)) < bytesTotal) {
      throw await diskFull(`${blobsTotal} blobs`, this.#store.dir, bytesTotal, undefined);
    }
    const width = Math.max(1, this.#options.concurrency ?? pullConcurrency);
    const workers = Array.from({ length: width }, () => this.#work());
    const ends = await Promise.allSettled(workers);
    this.#options.signal?.throwIfAborted();
    // The first to fail stopped the others with its own error.
    if (this.#stop.signal.aborted) throw this.#stop.signal.reason;
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  async #work(): Promise<void> {
    const attempts = new Attempts();
    try {
      for (let pack = this.#take(); pack.size > 0; pack = this.#take()) {
        const asked = pack.size;
        try {
          await this.#fetchPack(pack);
          attempts.progressed();
        } catch (e) {
          if (pack.size < asked) attempts.progressed();
          await this.#failedWith(e, pack, attempts);
        } finally {
          // What did not come goes back; workers that went idle meanwhile are not needed for the little that is.
          this.#queue.push(...pack.keys());
        }
      }
    } catch (e) {
      this.#stop.abort(e);
      throw e;
    }
  }

  /** The next blobs to ask for, within the bounds of one pack. */
  #take(): Map<string, number> {
    const pack = new Map<string, number>();
    let bytes = 0;
    while (pack.size < pullPackBlobs) {
      const digest = this.#queue.at(-1);
      if (digest === undefined) break;
      const size = this.#sizeOf(digest);
      if (pack.size > 0 && bytes + size > pullPackBytes) break;
      this.#queue.pop();
      pack.set(digest, size);
      bytes += size;
    }
    return pack;
  }

  /** Takes out of `pack` what has arrived. Returns normally when the pack came to its end, even if blobs lack. */
  async #fetchPack(pack: Map<string, number>): Promise<void> {
    const wanted = new Map(pack);
    const told = new Set<string>();
    const refuse = (digest: string, why: string): void => {
      told.add(digest);
      this.#refuse(digest, why);
    };
    const stream = await this.#remote.fetch([...pack.keys()], this.#signal);
    await decodePack(stream, this.#store, {
      wanted,
      framesMax: wanted.size,
      stallMs: this.#options.stallMs ?? transferStallMs,
      signal: this.#signal,
      onStored: (digest, size) => {
        if (!pack.delete(digest)) return;
        this.progress.blobs++;
        this.progress.bytes += size;
        this.#options.onProgress?.({ ...this.progress });
      },
      onBad: (digest, error) => refuse(digest, error.message),
      onAbsent: (digest) => refuse(digest, "the sender has no good copy"),
    });
    for (const digest of pack.keys()) {
      if (!told.has(digest)) refuse(digest, "the pack came without it");
    }
    if (this.#gaveUp) throw this.#gaveUp;
  }

  #refuse(digest: string, why: string): void {
    const times = (this.#refused.get(digest) ?? 0) + 1;
    this.#refused.set(digest, times);
    if (times < transferAttemptsMax) return;
    this.#gaveUp ??= new DvsError(
      "UNAVAILABLE",
      `Cannot fetch blob ${digest}, tried ${times} times: ${why}. ` +
        "The sender's copy is lost or corrupted: push the image again.",
    );
  }

  async #failedWith(error: unknown, pack: Map<string, number>, attempts: Attempts): Promise<void> {
    if (this.#gaveUp) throw this.#gaveUp;
    const [blob] = pack.keys();
    try {
      await attempts.failed(error, this.#signal);
    } catch (e) {
      if (e !== error || this.#signal.aborted) throw e;
      const why = error instanceof Error ? error.message : String(error);
      const code = error instanceof DvsError ? error.code : "UNAVAILABLE";
      throw new DvsError(code, `Cannot fetch blob ${blob} (and ${pack.size - 1} more): ${why}`, {
        cause: error,
      });
    }
  }

  #sizeOf(digest: string): number {
    return this.#wanted.get(digest) ?? 0;
  }
}
