/**
 * Garbage collection of blobs. A blob goes when no image names it and nobody put it or asked for it within the grace:
 * an image is recorded only after its blobs have come, and until then nothing but the grace keeps them. Both the wall
 * clock (which outlives a restart) and uptime (which nobody sets) must agree that it is old.
 */
import { rm } from "node:fs/promises";
import { blobGraceMs } from "../limits.ts";
import type { BlobStore } from "./blob-store.ts";
import { nextTurn } from "./digest.ts";
import { listBlobs } from "./list-blobs.ts";

export interface SweepOptions {
  graceMs?: number;
  /** Wall clock, milliseconds. */
  now?: () => number;
  signal?: AbortSignal;
}

/** Removes what `keep` does not have: the manifests of all images and the blobs they name. */
export async function sweep(
  store: BlobStore,
  keep: ReadonlySet<string>,
  options: SweepOptions = {},
): Promise<{ blobs: number; bytes: number }> {
  const { graceMs = blobGraceMs, now = Date.now } = options;
  const swept = { blobs: 0, bytes: 0 };
  for await (const digest of listBlobs(store.dir)) {
    options.signal?.throwIfAborted();
    if (keep.has(digest)) continue;
    const retired = store.retire(digest, now(), graceMs);
    if (!retired) continue;
    await rm(retired.path, { force: true });
    swept.blobs++;
    swept.bytes += retired.bytes;
    await nextTurn();
  }
  return swept;
}
