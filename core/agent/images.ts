/**
 * Images of this node: pulled into its blob store, kept whole, and removed when nothing here uses them. A full disk
 * is a reason to wait: what is under way fails with it, is tried again, and goes on where it was.
 */
import { DvsError } from "../errors.ts";
import { BlobStore } from "../image/blob-store.ts";
import { sweepImages } from "../image/garbage.ts";
import { pullImage, repairBlob } from "../image/pull.ts";
import type { Remote, TransferProgress } from "../image/remote.ts";
import { scrub } from "../image/scrub.ts";
import { blobGraceMs } from "../limits.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import type { DataDir } from "./data-dir.ts";
import type { NodeImages } from "./node-images.ts";
import type { Log } from "./supervisor.ts";

export interface ImageTiming {
  /** Between two looks for blobs that nothing uses. */
  sweepMs: number;
  /** How long an unused blob stays: the image may be wanted again. */
  graceMs: number;
  /** Between two readings of all blobs. */
  scrubMs: number;
}

const timingDefaults: ImageTiming = { sweepMs: 10 * 60_000, graceMs: blobGraceMs, scrubMs: 24 * 3_600_000 };
/** A report each time would be one per file. */
const progressMs = 250;

export async function openImages(
  data: DataDir,
  coordinator: CoordinatorLink,
  log: Log,
  timing: Partial<ImageTiming> = {},
): Promise<NodeImages> {
  const store = await BlobStore.open(data.blobs);
  return new ImageKeeper(store, coordinator.images, log, { ...timingDefaults, ...timing });
}

class ImageKeeper implements NodeImages {
  readonly #store: BlobStore;
  readonly #remote: Pick<Remote, "manifest" | "fetch">;
  readonly #log: Log;
  readonly #graceMs: number;
  readonly #closing = new AbortController();
  readonly #timers: ReturnType<typeof setInterval>[];
  /** Null until it is known what is wanted: before that nothing is garbage. */
  #wanted: ReadonlySet<string> | null = null;
  /** Seen whole by this process: looking again takes tens of milliseconds, and containers check what they read. */
  readonly #complete = new Set<string>();
  #diskProblem = "";
  #isTending = false;

  constructor(store: BlobStore, remote: Pick<Remote, "manifest" | "fetch">, log: Log, timing: ImageTiming) {
    this.#store = store;
    this.#remote = remote;
    this.#log = log;
    this.#graceMs = timing.graceMs;
    this.#timers = [
      setInterval(() => void this.#tend("sweep", () => this.#sweep()), timing.sweepMs),
      setInterval(() => void this.#tend("scrub", () => this.#scrub()), timing.scrubMs),
    ];
  }

  ensure(digest: string, progress: (reason: string) => void, signal: AbortSignal): Promise<void> {
    if (this.#complete.has(digest)) return Promise.resolve();
    const onProgress = inWords(progress);
    return this.#noting(async () => {
      await pullImage(digest, this.#remote, this.#store, { signal, onProgress });
      this.#complete.add(digest);
    });
  }

  refetch(image: string, digest: string, signal: AbortSignal): Promise<void> {
    return this.#noting(() => repairBlob(image, digest, this.#remote, this.#store, { signal }));
  }

  setWanted(digests: ReadonlySet<string>): void {
    this.#wanted = digests;
  }

  warnings(): string[] {
    return this.#diskProblem === "" ? [] : [this.#diskProblem];
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#closing.abort();
  }

  async #sweep(): Promise<void> {
    if (!this.#wanted) return;
    for (const image of this.#complete) if (!this.#wanted.has(image)) this.#complete.delete(image);
    const { signal } = this.#closing;
    const { blobs, bytes } = await sweepImages(this.#store, this.#wanted, this.#graceMs, { signal });
    if (blobs > 0) this.#log("info", `removed ${blobs} unused files of images (${bytes} bytes)`);
  }

  async #scrub(): Promise<void> {
    const { signal } = this.#closing;
    let corrupt = 0;
    for await (const { digest, state } of scrub(this.#store, { signal })) {
      if (state !== "corrupt") continue;
      corrupt++;
      this.#log("warn", `blob ${digest} was corrupted on the disk; it is fetched anew`);
    }
    if (corrupt === 0) return;
    // They were removed: a pull finds them missing.
    this.#complete.clear();
    for (const image of this.#wanted ?? []) await this.ensure(image, () => {}, signal);
  }

  /** One at a time, and whatever goes wrong is tried again at the next. */
  async #tend(what: string, action: () => Promise<void>): Promise<void> {
    if (this.#isTending) return;
    this.#isTending = true;
    try {
      await action();
    } catch (e) {
      if (!this.#closing.signal.aborted) {
        this.#log("warn", `${what} of the blob store failed: ${DvsError.from(e).message}`);
      }
    } finally {
      this.#isTending = false;
    }
  }

  /** Remembers a full disk for the report, until something works again. */
  async #noting(action: () => Promise<void>): Promise<void> {
    try {
      await action();
      this.#diskProblem = "";
    } catch (e) {
      if (e instanceof DvsError && e.code === "EXHAUSTED") this.#diskProblem = e.message;
      throw e;
    }
  }
}

function inWords(progress: (reason: string) => void): (p: TransferProgress) => void {
  let told = -Infinity;
  return ({ blobs, blobsTotal }) => {
    const now = performance.now();
    if (blobsTotal === 0 || now - told < progressMs) return;
    told = now;
    progress(`pulling: ${blobs} of ${blobsTotal} files`);
  };
}
