/**
 * Reads an image out of a node's blob directory. Nothing is trusted because it lies on the disk: a blob is verified
 * when it is used, and one that is missing or corrupted is fetched anew by `onBadBlob` (the agent does it), then
 * tried once more. See ImageReader in core/vos.ts for what `read`, `stream` and `file` guarantee.
 */
import { DvsError } from "../errors.ts";
import { manifestBytesMax, readBytesMax, verifyFirstBytesMax } from "../limits.ts";
import type { ImageEntry, ImageReader } from "../vos.ts";
import { blobPath, openIfThere, readVerified } from "./blob-file.ts";
import { streamFile, type OpenedFile } from "./file-stream.ts";
import { parseManifest } from "./manifest.ts";
import { ImageTree } from "./tree.ts";
import { Verifications } from "./verifications.ts";

export interface ImageSource {
  blobDir: string;
  /** The image's: `sha256:…`. */
  digest: string;
  /** Brings a blob that is missing or corrupted into blobDir; the reader tries once more after it. */
  onBadBlob: (digest: string) => Promise<void>;
}

/** Opens an image, its manifest verified. UNAVAILABLE when the manifest cannot be had, INVALID when it is none. */
export async function openImage(source: ImageSource): Promise<ImageReader> {
  const blobs = new RepairingBlobs(source.blobDir, source.onBadBlob);
  const manifest = await parseManifest(
    await blobs.read(source.digest, manifestBytesMax, `manifest ${source.digest}`),
  );
  const tree = new ImageTree(manifest.entries);
  return {
    digest: source.digest,
    entry: (path) => tree.entry(path),
    resolve: (path) => tree.resolve(path),
    paths: () => tree.paths(),
    async read(entry) {
      assertFile(entry);
      if (entry.size > readBytesMax) {
        throw new DvsError(
          "TOO_LARGE",
          `Cannot read ${entry.path} at once: it has ${entry.size} bytes, the limit is ${readBytesMax}. Stream it.`,
        );
      }
      return blobs.read(entry.digest, entry.size, entry.path);
    },
    stream(entry, start, end) {
      assertFile(entry);
      if (!(start >= 0 && start <= end && end <= entry.size)) {
        throw new RangeError(`bytes ${start} to ${end} of ${entry.path}, which has ${entry.size}`);
      }
      return streamFile(entry.path, start, end, () => blobs.open(entry));
    },
    file(entry) {
      assertFile(entry);
      return blobs.path(entry);
    },
  };
}

interface OpenedBlob extends OpenedFile {
  /** Whether all of it was compared with its digest, and not only what a stream promises. */
  verified: () => boolean;
}

class RepairingBlobs {
  readonly #dir: string;
  readonly #onBadBlob: (digest: string) => Promise<void>;
  readonly #verifications = new Verifications();
  /** Repairs under way: readers of one bad blob wait for one fetch. */
  readonly #repairs = new Map<string, Promise<void>>();
  /** Repairs that ended: a reader that looked before one of them tries again instead of asking for another. */
  readonly #repaired = new Map<string, number>();

  constructor(dir: string, onBadBlob: (digest: string) => Promise<void>) {
    this.#dir = dir;
    this.#onBadBlob = onBadBlob;
  }

  async read(digest: string, bytesMax: number, what: string): Promise<Uint8Array> {
    const path = blobPath(this.#dir, digest);
    const repaired = this.#repaired.get(digest);
    const first = await readVerified(path, digest, bytesMax);
    if (typeof first === "object") return first;
    if (this.#repaired.get(digest) === repaired) await this.#repair(digest, what, first);
    const second = await readVerified(path, digest, bytesMax);
    if (typeof second === "object") return second;
    throw unavailable(what, digest, second);
  }

  /** Opens a file's blob for streaming, verified as far as `stream` promises. */
  async open(entry: ImageEntry): Promise<OpenedBlob> {
    const repaired = this.#repaired.get(entry.digest);
    const first = await this.#tryOpen(entry);
    if (typeof first === "object") return first;
    if (this.#repaired.get(entry.digest) === repaired) {
      await this.#repair(entry.digest, entry.path, first);
    }
    const second = await this.#tryOpen(entry);
    if (typeof second === "object") return second;
    throw unavailable(entry.path, entry.digest, second);
  }

  /** The path of a file's blob, once the whole was verified; null while a large one is being verified. */
  async path(entry: ImageEntry): Promise<string | null> {
    const { file, verified } = await this.open(entry);
    await file.close();
    return verified() ? blobPath(this.#dir, entry.digest) : null;
  }

  async #tryOpen(entry: ImageEntry): Promise<OpenedBlob | "missing" | "corrupt"> {
    const file = await openIfThere(blobPath(this.#dir, entry.digest));
    if (!file) return "missing";
    let kept = false;
    try {
      const { size } = await file.stat();
      if (size !== entry.size) return "corrupt";
      const verification = await this.#verifications.of(file, entry.digest);
      if (entry.size <= verifyFirstBytesMax) {
        if (!(await verification.done)) return "corrupt";
        kept = true;
        return { file, verified: () => true };
      }
      if (verification.state === "bad") return "corrupt";
      void this.#repairWhenBad(verification.done, entry);
      kept = true;
      return {
        file,
        verified: () => verification.state === "good",
        check: () => {
          if (verification.state === "bad") throw unavailable(entry.path, entry.digest, "corrupt");
        },
      };
    } finally {
      if (!kept) await file.close();
    }
  }

  async #repairWhenBad(good: Promise<boolean>, entry: ImageEntry): Promise<void> {
    try {
      if (!(await good)) await this.#repair(entry.digest, entry.path, "corrupt");
    } catch {
      // The next stream finds the blob bad again, and its caller gets the error.
    }
  }

  async #repair(digest: string, what: string, state: "missing" | "corrupt"): Promise<void> {
    let repair = this.#repairs.get(digest);
    if (!repair) {
      repair = this.#onBadBlob(digest)
        .then(() => void this.#repaired.set(digest, (this.#repaired.get(digest) ?? 0) + 1))
        .finally(() => this.#repairs.delete(digest));
      this.#repairs.set(digest, repair);
    }
    try {
      await repair;
    } catch (e) {
      throw unavailable(what, digest, state, e);
    }
  }
}

function assertFile(entry: ImageEntry): void {
  if (entry.type !== "file") throw new TypeError(`${entry.path} is a ${entry.type}, not a file`);
}

function unavailable(what: string, digest: string, state: "missing" | "corrupt", cause?: unknown): DvsError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new DvsError(
    "UNAVAILABLE",
    `Cannot read ${what}: its blob ${digest} is ${state} on this node and could not be fetched anew${why}`,
    { cause },
  );
}
