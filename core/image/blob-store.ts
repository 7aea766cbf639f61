/**
 * A directory of blobs, written by one host process (an agent or a coordinator) and read by any.
 *
 *   <dir>/ab/cdef…   a blob; the name is its SHA-256. Whoever sees the name may rely on it after a power cut
 *   <dir>/tmp/…      blobs on their way
 *
 * Durability. `put` resolves when a blob's content is verified and this process can read it; its file is still staged
 * in tmp/. `flush` fsyncs everything staged, in one group, renames it into place and fsyncs the directories. So a name
 * never stands for bytes that a power cut may take, a blob costs no fsync of its own wait, and a killed process loses
 * at most the group (`stagedBlobsMax`, `stagedBytesMax`). Before an image is reported complete: `flush`, then `missing`
 * must be empty, since a group whose fsync failed is dropped.
 */
import { existsSync, renameSync, statSync } from "node:fs";
import { mkdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DvsError } from "../errors.ts";
import { blobBytesMax, blobGraceMs, MiB, readBytesMax, stagedBlobsMax, stagedBytesMax } from "../limits.ts";
import { uptimeMs } from "../platform/uptime.ts";
import { type BlobState, blobPath, openIfThere, readVerified, verifyFile } from "./blob-file.ts";
import { Hasher, hashPieceBytes, nextTurn } from "./digest.ts";
import { diskFull, freeBytes, isFull } from "./disk.ts";
import { streamFile } from "./file-stream.ts";
import { syncGroup } from "./group-sync.ts";
import { forEachParallel } from "./parallel.ts";
import { cleanStaging, openStaged, stagingDir } from "./staging.ts";

export type Bytes = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export interface PutOptions {
  /** Bytes that will come, when known: checked against the free space before the first is written, and at the end. */
  size?: number;
  /** Refuses larger content with TOO_LARGE. */
  bytesMax?: number;
}

interface Staged {
  path: string;
  size: number;
}

/** Files renamed or removed at once. */
const groupWidth = 32;
/** Digests looked up between two looks at the event loop: about a millisecond. */
const lookupsPerTurn = 200;

export class BlobStore {
  readonly dir: string;
  /** Verified, in tmp/, not yet fsynced. */
  readonly #staged = new Map<string, Staged>();
  #stagedBytes = 0;
  readonly #stagedMax: number;
  /** The group under way. */
  #flushing: Promise<void> = Promise.resolve();
  /** The one after it, which takes whatever is staged when it begins: any number of callers share it. */
  #nextFlush: Promise<void> | undefined;
  /** When a blob was last put or asked for, by uptime: `sweep` spares the young ones whatever the wall clock does. */
  readonly #touched = new Map<string, number>();

  private constructor(dir: string, stagedMax: number) {
    this.dir = dir;
    this.#stagedMax = stagedMax;
  }

  /**
   * Opens the store, creating the directory, and clears away what dead host processes left half-written. `stagedMax`
   * blobs are flushed together at the latest.
   */
  static async open(dir: string, stagedMax: number = stagedBlobsMax): Promise<BlobStore> {
    await mkdir(dir, { recursive: true });
    await cleanStaging(dir);
    return new BlobStore(dir, stagedMax);
  }

  has(digest: string): boolean {
    return this.#staged.has(digest) || existsSync(blobPath(this.dir, digest));
  }

  /** Which of these are not here. Those that are will be spared by `sweep` for `blobGraceMs`. */
  async missing(digests: Iterable<string>): Promise<string[]> {
    const missing: string[] = [];
    let looked = 0;
    for (const digest of digests) {
      if (!this.#touch(digest)) missing.push(digest);
      if (++looked % lookupsPerTurn === 0) await nextTurn();
    }
    return missing;
  }

  /** Bytes of a blob; undefined where it is not here. */
  size(digest: string): number | undefined {
    const staged = this.#staged.get(digest);
    if (staged) return staged.size;
    return statSync(blobPath(this.dir, digest), { throwIfNoEntry: false })?.size;
  }

  /**
   * Stores content under its digest. Resolves when this process can read it; survives a power cut after `flush`.
   * A blob that is here already is kept, and the content not looked at. INVALID when the content has another digest
   * or size, TOO_LARGE, EXHAUSTED when the disk is full; after an error nothing is left behind.
   */
  async put(content: Bytes, digest: string, options: PutOptions = {}): Promise<void> {
    if (this.#touch(digest)) return;
    const { size } = options;
    const bytesMax = options.bytesMax ?? blobBytesMax;
    if (size !== undefined && size > bytesMax) throw tooLarge(digest, bytesMax);
    if (size !== undefined && size >= MiB && (await freeBytes(this.dir)) < size) {
      throw await diskFull(`blob ${digest}`, this.dir, size, undefined);
    }
    const { path, file } = await this.#openStaged(digest, size);
    let kept = false;
    try {
      const written = await (async () => {
        try {
          return await writeHashed(file, content, digest, bytesMax);
        } finally {
          await file.close();
        }
      })();
      if (written.digest !== digest || (size !== undefined && written.bytes !== size)) {
        const expected = size === undefined ? digest : `${digest} with ${size} bytes`;
        throw new DvsError(
          "INVALID",
          `Cannot store blob ${expected}: the content has ${written.bytes} bytes and digest ${written.digest}`,
        );
      }
      // Two puts of one blob: the first to end is kept.
      if (!this.has(digest)) {
        this.#staged.set(digest, { path, size: written.bytes });
        this.#stagedBytes += written.bytes;
        this.#touched.set(digest, uptimeMs());
        kept = true;
      }
    } catch (e) {
      if (isFull(e)) throw await this.#fullAfterRemoving(path, digest, size, e);
      throw e;
    } finally {
      if (!kept) await rm(path, { force: true });
    }
    if (this.#staged.size >= this.#stagedMax || this.#stagedBytes >= stagedBytesMax) await this.flush();
  }

  /** Makes every blob that was put before survive a power cut. Rejects when the disk refuses; those blobs are gone. */
  flush(): Promise<void> {
    if (this.#nextFlush) return this.#nextFlush;
    const before = this.#flushing;
    const next = (async () => {
      await before.catch(() => {}); // Its own callers heard of it.
      this.#nextFlush = undefined;
      try {
        await this.#flushGroup();
      } catch (e) {
        // Directories grow too. What is staged stays so, for the next flush.
        throw isFull(e) ? await diskFull("staged blobs", this.dir, undefined, e) : e;
      }
    })();
    this.#flushing = this.#nextFlush = next;
    next.catch(() => {}); // The callers hear of it.
    return next;
  }

  /** The whole content, verified: NOT_FOUND, or FAILED when it is corrupt. At most `readBytesMax`. */
  async read(digest: string, bytesMax: number = readBytesMax): Promise<Uint8Array<ArrayBuffer>> {
    const got = await this.#onFile(digest, (path) => readVerified(path, digest, bytesMax), "missing");
    if (typeof got === "object") return got;
    if (got === "missing")
      throw new DvsError("NOT_FOUND", `Cannot read blob ${digest}: it is not in ${this.dir}`);
    throw new DvsError("FAILED", `Cannot read blob ${digest} in ${this.dir}: it is corrupted or too large`);
  }

  /** Bytes [start, end) as they lie on the disk, not verified: whoever takes them compares the digest. */
  openStream(
    digest: string,
    start = 0,
    end: number = this.size(digest) ?? 0,
  ): ReadableStream<Uint8Array<ArrayBuffer>> {
    return streamFile(`blob ${digest}`, start, end, async () => {
      const file = await this.#onFile(digest, openIfThere, null);
      if (!file) throw new DvsError("NOT_FOUND", `Cannot read blob ${digest}: it is not in ${this.dir}`);
      return { file };
    });
  }

  /** Compares a blob with its digest and removes it when it is corrupt, so that it counts as missing. */
  async verify(digest: string, paced?: (bytes: number) => Promise<void>): Promise<BlobState> {
    const before = this.#inodeOf(digest);
    const state = await this.#onFile(digest, (path) => verifyFile(path, digest, paced), "missing");
    // A repair may have put a good file in its place meanwhile.
    if (state === "corrupt" && this.#inodeOf(digest) === before) await this.delete(digest);
    return state;
  }

  async delete(digest: string): Promise<void> {
    this.#touched.delete(digest);
    const staged = this.#staged.get(digest);
    if (staged) {
      this.#unstage(digest, staged);
      await rm(staged.path, { force: true });
    }
    await rm(blobPath(this.dir, digest), { force: true });
  }

  /**
   * Removes a blob unless it was put, or asked for, less than `graceMs` ago by wall clock and by uptime. Synchronous
   * from the look to the removal, so that no `missing` comes between. Returns the file to unlink, already out of sight.
   */
  retire(digest: string, now: number, graceMs: number): { path: string; bytes: number } | undefined {
    if (this.#staged.has(digest)) return undefined;
    const touched = this.#touched.get(digest);
    if (touched !== undefined && uptimeMs() - touched < graceMs) return undefined;
    const path = blobPath(this.dir, digest);
    const found = statSync(path, { throwIfNoEntry: false });
    if (!found || now - found.mtimeMs < graceMs) return undefined;
    const hidden = join(stagingDir(this.dir), `retired.${digest.slice(7)}`);
    renameSync(path, hidden);
    this.#touched.delete(digest);
    return { path: hidden, bytes: found.size };
  }

  /** Whether the blob is here; if so it is spared by `sweep`, also by that of the next process, for a while. */
  #touch(digest: string): boolean {
    if (this.#staged.has(digest)) return true;
    const path = blobPath(this.dir, digest);
    const found = statSync(path, { throwIfNoEntry: false });
    if (!found) return false;
    this.#touched.set(digest, uptimeMs());
    const now = new Date();
    // Best effort: it matters only when the process restarts before the image is recorded.
    if (now.getTime() - found.mtimeMs > blobGraceMs / 2) utimes(path, now, now).catch(() => {});
    return true;
  }

  #inodeOf(digest: string): number | undefined {
    const path = this.#staged.get(digest)?.path ?? blobPath(this.dir, digest);
    return statSync(path, { throwIfNoEntry: false })?.ino;
  }

  async #flushGroup(): Promise<void> {
    const group = [...this.#staged];
    if (group.length === 0) return;
    const failed = await syncGroup(
      this.dir,
      group.map(([, staged]) => staged.path),
    );
    const dirs = new Set<string>();
    for (const [digest] of group) dirs.add(dirname(blobPath(this.dir, digest)));
    await forEachParallel(dirs, groupWidth, async (dir) => void (await mkdir(dir, { recursive: true })));
    let lost = 0;
    await forEachParallel(group, groupWidth, async ([digest, staged]) => {
      // One that was deleted meanwhile is nobody's any more.
      if (this.#staged.get(digest) !== staged) return;
      if (failed.has(staged.path)) {
        lost++;
        await rm(staged.path, { force: true });
      } else await rename(staged.path, blobPath(this.dir, digest));
      this.#unstage(digest, staged);
    });
    if ((await syncGroup(this.dir, [...dirs, this.dir])).size > 0 || lost > 0) {
      throw new DvsError("UNAVAILABLE", `The disk of ${this.dir} did not keep ${lost || group.length} blobs`);
    }
  }

  #unstage(digest: string, staged: Staged): void {
    this.#staged.delete(digest);
    this.#stagedBytes -= staged.size;
  }

  /** Runs `use` on a blob's file, staged or in place; a flush may move it between the two looks. */
  async #onFile<T>(digest: string, use: (path: string) => Promise<T>, absent: T): Promise<T> {
    const staged = this.#staged.get(digest);
    if (staged) {
      const got = await use(staged.path);
      if (got !== absent) return got;
    }
    return use(blobPath(this.dir, digest));
  }

  async #openStaged(digest: string, size: number | undefined): ReturnType<typeof openStaged> {
    try {
      return await openStaged(this.dir);
    } catch (e) {
      if (isFull(e)) throw await diskFull(`blob ${digest}`, this.dir, size, e);
      throw e;
    }
  }

  /** The error of a full disk. What was written of the blob is freed first, so that `free` is what somebody finds. */
  async #fullAfterRemoving(
    path: string,
    digest: string,
    size: number | undefined,
    cause: unknown,
  ): Promise<DvsError> {
    const written = await stat(path).catch(() => undefined);
    await rm(path, { force: true });
    return diskFull(`blob ${digest}`, this.dir, size ?? written?.size, cause);
  }
}

async function writeHashed(
  file: { write(bytes: Uint8Array): Promise<{ bytesWritten: number }> },
  content: Bytes,
  digest: string,
  bytesMax: number,
): Promise<{ digest: string; bytes: number }> {
  const hasher = new Hasher();
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge(digest, bytesMax);
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + hashPieceBytes);
      const { bytesWritten } = await file.write(piece);
      hasher.update(piece.subarray(0, bytesWritten));
      at += bytesWritten;
    }
  }
  return { digest: hasher.digest(), bytes };
}

function tooLarge(digest: string, bytesMax: number): DvsError {
  return new DvsError(
    "TOO_LARGE",
    `Cannot store blob ${digest}: it has more than the limit of ${bytesMax} bytes`,
  );
}
