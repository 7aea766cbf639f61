/** Contents of files in memory, verified when they were read; by digest, so that equal files are there once. */
import { sharedBody, type SharedBody } from "../../core/platform/body.ts";
import type { ImageEntry, ImageReader } from "../../core/vos.ts";
import { ClockCache } from "./clock-cache.ts";

/** What a small file costs beside its bytes. */
const overheadBytes = 512;

export class Contents {
  readonly #image: ImageReader;
  readonly #fileBytesMax: number;
  readonly #cache: ClockCache<SharedBody>;
  /** Reads under way: a file that many ask for at once is read once. */
  readonly #reads = new Map<string, Promise<SharedBody>>();

  constructor(image: ImageReader, limits: { cacheBytes: number; cacheFileBytesMax: number }) {
    this.#image = image;
    this.#fileBytesMax = Math.min(limits.cacheFileBytesMax, limits.cacheBytes);
    this.#cache = new ClockCache(limits.cacheBytes);
  }

  /** Whether the file is small enough to be held; others are streamed. */
  holds(entry: ImageEntry): boolean {
    return entry.size <= this.#fileBytesMax;
  }

  /** Undefined where it is not in memory. */
  peek(entry: ImageEntry): SharedBody | undefined {
    return this.#cache.get(entry.digest);
  }

  /** Rejects with UNAVAILABLE when the image has not got it and nobody can give it. */
  async get(entry: ImageEntry): Promise<SharedBody> {
    const known = this.#cache.get(entry.digest);
    if (known) return known;
    let read = this.#reads.get(entry.digest);
    if (!read) {
      read = this.#read(entry).finally(() => this.#reads.delete(entry.digest));
      this.#reads.set(entry.digest, read);
    }
    return read;
  }

  async #read(entry: ImageEntry): Promise<SharedBody> {
    const body = sharedBody((await this.#image.read(entry)) as Uint8Array<ArrayBuffer>);
    this.#cache.set(entry.digest, body, body.size + overheadBytes);
    return body;
  }
}
