/**
 * What a coordinator does about blobs: plain functions over its store, for the routes to call. What other machines
 * sent is checked here once more, since a digest becomes a file's name; who may call is checked before.
 */
import { DvsError } from "../errors.ts";
import { blobBytesMax, digestsPerRequestMax, manifestBytesMax, transferStallMs } from "../limits.ts";
import type { BlobStore } from "./blob-store.ts";
import { isDigest } from "./digest.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { decodePack } from "./pack-decode.ts";
import { encodePack } from "./pack-encode.ts";

/** Which blobs a client has to send. Those that are here are kept for `blobGraceMs`, until its image is recorded. */
export async function handleMissing(store: BlobStore, digests: readonly string[]): Promise<string[]> {
  checkDigests(digests);
  return store.missing(digests);
}

export interface UploadLimits {
  /** Content bytes of one pack. */
  bytesMax?: number;
  /** No byte for this long ends the upload. */
  stallMs?: number;
  signal?: AbortSignal;
}

/** Stores a pack. Resolves when all of it survives a power cut. On an error, what came whole before it is kept. */
export async function handleUpload(
  store: BlobStore,
  pack: ReadableStream<Uint8Array>,
  limits: UploadLimits = {},
): Promise<{ blobs: number; bytes: number }> {
  const stored: string[] = [];
  let result: { blobs: number; bytes: number };
  try {
    result = await decodePack(pack, store, {
      bytesMax: limits.bytesMax ?? blobBytesMax,
      stallMs: limits.stallMs ?? transferStallMs,
      signal: limits.signal,
      onStored: (digest) => stored.push(digest),
    });
  } catch (e) {
    await store.flush().catch(() => {}); // The client asks what is missing before it goes on.
    throw e;
  }
  await store.flush();
  const [lost] = await store.missing(stored);
  if (lost) throw new DvsError("UNAVAILABLE", `Cannot store blob ${lost}: the disk did not keep it`);
  return result;
}

/** A pack of the blobs asked for; those without a good copy go as absent and are told to `onAbsent`. */
export function handleFetch(
  store: BlobStore,
  digests: readonly string[],
  onAbsent: (digest: string) => void = () => {},
): ReadableStream<Uint8Array<ArrayBuffer>> {
  checkDigests(digests);
  return encodePack(digests, store, { onAbsent });
}

/** The bytes of a manifest, verified. NOT_FOUND where no such blob is here; INVALID for what is no digest. */
export async function manifestOf(store: BlobStore, digest: string): Promise<Uint8Array<ArrayBuffer>> {
  checkDigests([digest]);
  return store.read(digest, manifestBytesMax);
}

/**
 * The manifest of an image of which everything is here: what has to be true before the image is recorded. INVALID
 * when the manifest is none, FAILED naming a blob that lacks, NOT_FOUND without the manifest.
 */
export async function verifyImage(store: BlobStore, digest: string): Promise<Manifest> {
  const manifest = await parseManifest(await manifestOf(store, digest));
  await store.flush();
  const lacking = await store.missing(manifest.blobs.keys());
  for (const [blob, size] of manifest.blobs) {
    const has = store.size(blob);
    if (has !== undefined && has !== size) lacking.push(blob);
  }
  if (lacking.length === 0) return manifest;
  throw new DvsError(
    "FAILED",
    `Image ${digest} is not complete: ${lacking.length} of its ${manifest.blobs.size} blobs are not here, ` +
      `${lacking[0]} is one. Push it again.`,
  );
}

function checkDigests(digests: readonly string[]): void {
  if (digests.length > digestsPerRequestMax) {
    throw new DvsError(
      "TOO_LARGE",
      `${digests.length} digests in one request, the limit is ${digestsPerRequestMax}`,
    );
  }
  const bad = digests.find((digest) => !isDigest(digest));
  if (bad === undefined) return;
  throw new DvsError(
    "INVALID",
    `${JSON.stringify(bad.slice(0, 100))} is no digest: \`sha256:\` and 64 hex digits`,
  );
}
