/** Which blobs a set of images needs, and the removal of all others. */
import { manifestBytesMax } from "../limits.ts";
import type { BlobStore } from "./blob-store.ts";
import { parseManifest } from "./manifest.ts";
import { sweep, type SweepOptions } from "./sweep.ts";

/**
 * Removes what belongs to none of these images and is older than the grace (see sweep.ts). Rejects, having removed
 * nothing, when a manifest cannot be read: what it names is not known then, and none of it is garbage.
 */
export async function sweepImages(
  store: BlobStore,
  images: Iterable<string>,
  graceMs?: number,
  options: Omit<SweepOptions, "graceMs"> = {},
): Promise<{ blobs: number; bytes: number }> {
  const keep = new Set<string>();
  for (const image of images) {
    keep.add(image);
    const { blobs } = await parseManifest(await store.read(image, manifestBytesMax));
    for (const digest of blobs.keys()) keep.add(digest);
  }
  return sweep(store, keep, { ...options, ...(graceMs === undefined ? {} : { graceMs }) });
}
