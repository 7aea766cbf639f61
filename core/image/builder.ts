/**
 * Builds an image of a directory. Only the manifest is made; contents stay where they are and are read again when they
 * are sent, so building needs no disk. A file that changes between the two is noticed.
 */
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { DvsError, type Issue } from "../errors.ts";
import { blobBytesMax, readBytesMax } from "../limits.ts";
import type { ImageEntry } from "../vos.ts";
import { Hasher, digestOf, hashPieceBytes } from "./digest.ts";
import { streamFile } from "./file-stream.ts";
import { encodeManifest } from "./manifest.ts";
import type { BlobSource } from "./pack-encode.ts";
import { forEachParallel } from "./parallel.ts";
import { openFlags, walk, type WalkOptions, walkWidth } from "./walk.ts";

export interface BuildOptions extends WalkOptions {
  onProgress?: (progress: { files: number; filesTotal: number; bytes: number }) => void;
}

/** An image and its blobs' contents, the manifest's included. */
export interface BuiltImage extends BlobSource {
  digest: string;
  manifest: Uint8Array;
  entries: ImageEntry[];
  files: number;
  bytes: number;
  skipped: Issue[];
}

/** What identifies a file's content without reading it. */
interface Stamp {
  file: string;
  size: number;
  identity: string;
}

/** Times that a file which changes while it is hashed is hashed. */
const attemptsMax = 3;

/** NOT_FOUND, INVALID or TOO_LARGE for what cannot be an image; CONFLICT for a file that keeps changing. */
export async function buildImage(dir: string, options: BuildOptions = {}): Promise<BuiltImage> {
  const walked = await walk(dir, options);
  const entries: ImageEntry[] = [
    ...walked.directories.map(({ path, mode }) => entryOf("directory", path, { mode })),
    ...walked.links.map(({ path, target }) => entryOf("symlink", path, { mode: 0o777, target })),
  ];
  const stamps = new Map<string, Stamp>();
  const progress = { files: 0, filesTotal: walked.files.length, bytes: 0 };
  await forEachParallel(walked.files, walkWidth, async (path) => {
    options.signal?.throwIfAborted();
    const { digest, mode, stamp } = await hashFile(join(walked.root, path));
    entries.push(entryOf("file", path, { mode, digest, size: stamp.size }));
    stamps.set(digest, stamp);
    progress.files++;
    progress.bytes += stamp.size;
    options.onProgress?.({ ...progress });
  });
  const manifest = await encodeManifest(entries);
  return {
    digest: digestOf(manifest),
    manifest,
    entries,
    files: progress.files,
    bytes: progress.bytes,
    skipped: walked.skipped,
    ...contents(manifest, stamps),
  };
}

function contents(manifest: Uint8Array, stamps: ReadonlyMap<string, Stamp>): BlobSource {
  const own = digestOf(manifest);
  const stampOf = (digest: string): Stamp => {
    const stamp = stamps.get(digest);
    if (!stamp) throw new TypeError(`the image has no blob ${digest}`);
    return stamp;
  };
  return {
    size: (digest) => (digest === own ? manifest.length : stamps.get(digest)?.size),
    async read(digest) {
      if (digest === own) return manifest;
      const stamp = stampOf(digest);
      const file = await openUnchanged(stamp);
      try {
        if (stamp.size > readBytesMax) throw new RangeError(`${stamp.file} is too large to be read at once`);
        const bytes = new Uint8Array(stamp.size);
        const { bytesRead } = await file.read(bytes, 0, stamp.size, 0);
        if (bytesRead < stamp.size || digestOf(bytes) !== digest) throw changed(stamp.file);
        return bytes;
      } finally {
        await file.close();
      }
    },
    openStream(digest) {
      if (digest === own) return new Blob([manifest as Uint8Array<ArrayBuffer>]).stream();
      const stamp = stampOf(digest);
      return streamFile(stamp.file, 0, stamp.size, async () => {
        const file = await openUnchanged(stamp);
        return {
          file,
          complete: async () => {
            if ((await stampFile(file, stamp.file)).identity !== stamp.identity) throw changed(stamp.file);
          },
        };
      });
    },
  };
}

async function hashFile(path: string): Promise<{ digest: string; mode: number; stamp: Stamp }> {
  for (let attempt = 1; ; attempt++) {
    const file = await open(path, openFlags);
    try {
      const before = await stampFile(file, path);
      const digest = await hashHandle(file, path);
      const after = await stampFile(file, path);
      if (before.identity === after.identity) return { digest, mode: before.mode, stamp: before };
    } finally {
      await file.close();
    }
    if (attempt === attemptsMax) throw changed(path);
  }
}

async function hashHandle(file: FileHandle, path: string): Promise<string> {
  const hasher = new Hasher();
  const buffer = new Uint8Array(hashPieceBytes);
  for (let at = 0; ;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return hasher.digest();
    hasher.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
    if (at > blobBytesMax) {
      throw new DvsError(
        "TOO_LARGE",
        `Cannot put ${path} into an image: the limit is ${blobBytesMax} bytes a file`,
      );
    }
  }
}

async function openUnchanged(stamp: Stamp): Promise<FileHandle> {
  const file = await open(stamp.file, openFlags).catch((e: unknown) => {
    throw changed(stamp.file, e);
  });
  let same = false;
  try {
    same = (await stampFile(file, stamp.file)).identity === stamp.identity;
  } finally {
    if (!same) await file.close();
  }
  if (!same) throw changed(stamp.file);
  return file;
}

async function stampFile(file: FileHandle, path: string): Promise<Stamp & { mode: number }> {
  const s = await file.stat({ bigint: true });
  if (!s.isFile()) throw changed(path);
  return {
    file: path,
    size: Number(s.size),
    mode: Number(s.mode & 0o777n),
    identity: `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`,
  };
}

function entryOf(type: ImageEntry["type"], path: string, more: Partial<ImageEntry>): ImageEntry {
  return { path, type, size: 0, digest: "", mode: 0, target: "", ...more };
}

function changed(path: string, cause?: unknown): DvsError {
  return new DvsError(
    "CONFLICT",
    `Cannot build an image: ${path} changes while it is read. Build it again.`,
    {
      cause,
    },
  );
}
