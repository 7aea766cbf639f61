/**
 * Sends an image. The other end is asked first what it has not, so unchanged files are not sent again; a broken
 * connection costs at most the pack that was on its way. The manifest goes last: where it is, the image is complete.
 */
import { digestsPerRequestMax, packFramesMax, pushPackBytes } from "../limits.ts";
import { Attempts } from "./attempts.ts";
import type { BuiltImage } from "./builder.ts";
import { encodePack } from "./pack-encode.ts";
import type { Remote, TransferOptions, TransferProgress } from "./remote.ts";

/** How many files' contents were sent; the rest was there already. Rejects with what the last attempt failed with. */
export async function pushImage(
  image: Pick<BuiltImage, "digest" | "entries" | "size" | "read" | "openStream">,
  remote: Pick<Remote, "missing" | "upload">,
  options: TransferOptions = {},
): Promise<{ blobs: number; bytes: number }> {
  const { signal } = options;
  const files = new Set<string>();
  for (const entry of image.entries) if (entry.type === "file") files.add(entry.digest);
  const sizeOf = (digest: string): number => image.size(digest) ?? 0;
  const missing = await askMissing([...files, image.digest], remote, signal);
  const manifestMissing = missing.includes(image.digest);
  const packs = split(
    missing.filter((digest) => digest !== image.digest),
    sizeOf,
  );
  if (manifestMissing) packs.push([image.digest]);
  const progress: TransferProgress = {
    blobs: 0,
    blobsTotal: missing.length,
    bytes: 0,
    bytesTotal: missing.reduce((sum, digest) => sum + sizeOf(digest), 0),
  };
  options.onProgress?.({ ...progress });
  for (const pack of packs) {
    await uploadPack(pack, image, remote, signal);
    progress.blobs += pack.length;
    progress.bytes += pack.reduce((sum, digest) => sum + sizeOf(digest), 0);
    options.onProgress?.({ ...progress });
  }
  const own = manifestMissing ? 1 : 0;
  return { blobs: progress.blobs - own, bytes: progress.bytes - own * sizeOf(image.digest) };
}

async function uploadPack(
  pack: string[],
  image: Parameters<typeof pushImage>[0],
  remote: Pick<Remote, "missing" | "upload">,
  signal: AbortSignal | undefined,
): Promise<void> {
  const attempts = new Attempts();
  let left = pack;
  while (left.length > 0) {
    try {
      await remote.upload(encodePack(left, image), signal);
      return;
    } catch (e) {
      await attempts.failed(e, signal);
      const before = left.length;
      left = await askMissing(left, remote, signal);
      if (left.length < before) attempts.progressed();
    }
  }
}

async function askMissing(
  digests: string[],
  remote: Pick<Remote, "missing">,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const missing: string[] = [];
  const attempts = new Attempts();
  for (let at = 0; at < digests.length;) {
    const asked = digests.slice(at, at + digestsPerRequestMax);
    try {
      const answer = new Set(await remote.missing(asked, signal));
      missing.push(...asked.filter((digest) => answer.has(digest)));
      at += asked.length;
      attempts.progressed();
    } catch (e) {
      await attempts.failed(e, signal);
    }
  }
  return missing;
}

/** Packs of at most `pushPackBytes`, or of one larger blob. */
function split(digests: string[], sizeOf: (digest: string) => number): string[][] {
  const packs: string[][] = [];
  let bytes = Infinity;
  for (const digest of digests) {
    const size = sizeOf(digest);
    const last = packs.at(-1);
    if (!last || bytes + size > pushPackBytes || last.length >= packFramesMax) {
      packs.push([digest]);
      bytes = size;
    } else {
      last.push(digest);
      bytes += size;
    }
  }
  return packs;
}
