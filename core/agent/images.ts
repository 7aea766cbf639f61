/**
 * Images of this node: pulled into its blob store, kept whole, and removed when nothing here uses them. A disk that
 * is full is a reason to wait: what is under way fails with it, is tried again, and goes on where it was.
 */
import { DvsError } from "../errors.ts";
import { BlobStore } from "../image/blob-store.ts";
import { fetchBlobs } from "../image/fetch-blobs.ts";
import { type Manifest, parseManifest } from "../image/manifest.ts";
import type { Remote } from "../image/remote.ts";
import { manifestBytesMax } from "../limits.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import type { DataDir } from "./data-dir.ts";
import type { NodeImages } from "./node-images.ts";
import type { Log } from "./supervisor.ts";

export async function openImages(
  data: DataDir,
  coordinator: CoordinatorLink,
  log: Log,
): Promise<NodeImages> {
  return new ImageKeeper(await BlobStore.open(data.blobs), coordinator.images, log);
}

class ImageKeeper implements NodeImages {
  readonly #store: BlobStore;
  readonly #remote: Pick<Remote, "manifest" | "fetch">;
  readonly #log: Log;
  /** Two containers of one image wait for the same pull. */
  readonly #pulls = new Map<string, Promise<void>>();
  #wanted: ReadonlySet<string> = new Set();
  #diskProblem = "";

  constructor(store: BlobStore, remote: Pick<Remote, "manifest" | "fetch">, log: Log) {
    this.#store = store;
    this.#remote = remote;
    this.#log = log;
  }

  async ensure(digest: string, progress: (reason: string) => void, signal: AbortSignal): Promise<void> {
    let pull = this.#pulls.get(digest);
    if (!pull) {
      pull = this.#noting(() => this.#pull(digest, progress, signal)).finally(() => this.#pulls.delete(digest));
      this.#pulls.set(digest, pull);
    }
    return pull;
  }

  async refetch(digest: string, signal: AbortSignal): Promise<void> {
    // A container says it; what it says is checked, and good blobs are left alone.
    if ((await this.#store.verify(digest)) === "good") return;
    await this.#noting(async () => {
      for (const image of this.#wanted) {
        if (image === digest) return void (await this.#manifest(image, signal));
        const { blobs } = await this.#manifest(image, signal);
        const size = blobs.get(digest);
        if (size === undefined) continue;
        await fetchBlobs(new Map([[digest, size]]), this.#remote, this.#store, { signal });
        this.#log("info", `blob ${digest} was bad and has been fetched anew`);
        return;
      }
      throw new DvsError("NOT_FOUND", `Cannot fetch blob ${digest}: no image of this node has it`);
    });
  }

  setWanted(digests: ReadonlySet<string>): void {
    this.#wanted = digests;
  }

  warnings(): string[] {
    return this.#diskProblem === "" ? [] : [this.#diskProblem];
  }

  close(): void {}

  async #pull(digest: string, progress: (reason: string) => void, signal: AbortSignal): Promise<void> {
    const { blobs } = await this.#manifest(digest, signal);
    let told = 0;
    await fetchBlobs(blobs, this.#remote, this.#store, {
      signal,
      onProgress: ({ blobs: done, blobsTotal }) => {
        const now = performance.now();
        if (blobsTotal === 0 || now - told < progressMs) return;
        told = now;
        progress(`pulling: ${done} of ${blobsTotal} files`);
      },
    });
  }

  async #manifest(digest: string, signal: AbortSignal): Promise<Manifest> {
    if (this.#store.has(digest)) {
      try {
        return await parseManifest(await this.#store.read(digest, manifestBytesMax));
      } catch {
        await this.#store.delete(digest);
      }
    }
    const bytes = await this.#remote.manifest(digest, signal);
    await this.#store.put([bytes], digest);
    return parseManifest(bytes);
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

/** A report each time would be one per file. */
const progressMs = 250;
