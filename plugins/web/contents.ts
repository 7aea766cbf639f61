/** Contents of files in memory, verified when they were read; by tag, so that equal files of an image are there once. */
import { sharedBody, type SharedBody } from "../../core/platform/body.ts";
import { ClockCache } from "./clock-cache.ts";
import type { ServedFile } from "./served.ts";

/** What a small file costs beside its bytes. */
const overheadBytes = 512;

export class Contents {
  readonly #fileBytesMax: number;
  readonly #cache: ClockCache<SharedBody>;
  /** Reads under way: a file that many ask for at once is read once. */
  readonly #reads = new Map<string, Promise<SharedBody>>();

  constructor(limits: { cacheBytes: number; cacheFileBytesMax: number }) {
    this.#fileBytesMax = Math.min(limits.cacheFileBytesMax, limits.cacheBytes);
    this.#cache = new ClockCache(limits.cacheBytes);
  }

  /** Whether the file is small enough to be held; others are streamed. */
  holds(file: ServedFile): boolean {
    return file.size <= this.#fileBytesMax;
  }

  /** Undefined where it is not in memory. */
  peek(file: ServedFile): SharedBody | undefined {
    return this.#cache.get(file.tag);
  }

  /** Rejects with UNAVAILABLE when nobody can give it, with Outdated when it has changed. */
  async get(file: ServedFile): Promise<SharedBody> {
    const known = this.#cache.get(file.tag);
    if (known) return known;
    let read = this.#reads.get(file.tag);
    if (!read) {
      read = this.#read(file).finally(() => this.#reads.delete(file.tag));
      this.#reads.set(file.tag, read);
    }
    return read;
  }

  async #read(file: ServedFile): Promise<SharedBody> {
    const body = sharedBody((await file.read()) as Uint8Array<ArrayBuffer>);
    this.#cache.set(file.tag, body, body.size + overheadBytes);
    return body;
  }
}
