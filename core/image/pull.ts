/**
 * Brings an image into a store: its manifest, what it names and is not here yet, everything verified. The manifest is
 * stored last, so where it is, the image is complete. A host process has one pull of an image under way at a time;
 * who asks meanwhile joins it.
 */
import { DvsError } from "../errors.ts";
import { manifestBytesMax } from "../limits.ts";
import { Attempts } from "./attempts.ts";
import type { BlobStore } from "./blob-store.ts";
import { digestOfLarge } from "./digest.ts";
import { fetchBlobs, type FetchOptions } from "./fetch-blobs.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import type { Remote } from "./remote.ts";
import { SharedWork } from "./shared-work.ts";

export type PullOptions = FetchOptions;
type Source = Pick<Remote, "manifest" | "fetch">;

export interface Pulled {
  manifest: Manifest;
  /** What had to be fetched; the rest was here. Without the manifest. */
  blobs: number;
  bytes: number;
}

const pulls = new SharedWork<Pulled>();
const repairs = new SharedWork<void>();

/**
 * On return the image is complete in `store` and survives a power cut. UNAVAILABLE names the blob that nobody could
 * give, EXHAUSTED how many bytes are needed and free, INVALID what is wrong with the manifest. The options of the
 * first caller hold for those who join, but each has its own `signal` and `onProgress`.
 */
export function pullImage(
  digest: string,
  remote: Source,
  store: BlobStore,
  options: PullOptions = {},
): Promise<Pulled> {
  return pulls.join(`${store.dir}\n${digest}`, options, (shared) =>
    pull(digest, remote, store, { ...options, ...shared }),
  );
}

/**
 * Brings one blob of an image anew if it is missing or corrupted: what an ImageReader's `onBadBlob` comes to. INVALID
 * for a blob that is not of this image, since it is a container that asks.
 */
export function repairBlob(
  image: string,
  digest: string,
  remote: Source,
  store: BlobStore,
  options: FetchOptions = {},
): Promise<void> {
  return repairs.join(`${store.dir}\n${digest}`, options, async (shared) => {
    const { bytes, manifest } = await manifestOf(image, remote, store, shared.signal);
    if (digest === image) return storeManifest(store, image, bytes);
    const size = manifest.blobs.get(digest);
    if (size === undefined) {
      throw new DvsError("INVALID", `Cannot repair blob ${digest}: it is not part of image ${image}`);
    }
    if ((await store.verify(digest)) === "good") return;
    await fetchBlobs(new Map([[digest, size]]), remote, store, { ...options, ...shared });
  });
}

async function pull(
  digest: string,
  remote: Source,
  store: BlobStore,
  options: FetchOptions,
): Promise<Pulled> {
  const { bytes, manifest } = await manifestOf(digest, remote, store, options.signal);
  const fetched = await fetchBlobs(manifest.blobs, remote, store, options);
  await storeManifest(store, digest, bytes);
  return { manifest, ...fetched };
}

/** The manifest, from the store or else the remote, verified and checked. A corrupt one in the store is removed. */
async function manifestOf(
  digest: string,
  remote: Pick<Remote, "manifest">,
  store: BlobStore,
  signal: AbortSignal | undefined,
): Promise<{ bytes: Uint8Array; manifest: Manifest }> {
  let bytes: Uint8Array | undefined;
  if ((await store.verify(digest)) === "good") bytes = await store.read(digest, manifestBytesMax);
  bytes ??= await fetchManifest(digest, remote, signal);
  return { bytes, manifest: await parseManifest(bytes) };
}

async function fetchManifest(
  digest: string,
  remote: Pick<Remote, "manifest">,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const attempts = new Attempts();
  for (;;) {
    try {
      const bytes = await remote.manifest(digest, signal);
      if ((await digestOfLarge(bytes)) === digest) return bytes;
      throw new DvsError(
        "UNAVAILABLE",
        `Cannot fetch the manifest of image ${digest}: what came has another digest`,
      );
    } catch (e) {
      await attempts.failed(e, signal);
    }
  }
}

async function storeManifest(store: BlobStore, digest: string, bytes: Uint8Array): Promise<void> {
  await store.put([bytes], digest, { size: bytes.length });
  await store.flush();
  if (!store.has(digest)) {
    throw new DvsError(
      "UNAVAILABLE",
      `Cannot store manifest ${digest} in ${store.dir}: the disk did not keep it`,
    );
  }
}
