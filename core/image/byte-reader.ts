/** Takes a byte stream apart: so many bytes now, the next so many piece by piece, with a bound on silence. */
import { DvsError } from "../errors.ts";

export interface ByteReaderOptions {
  /** No byte for this long counts as a broken connection; 0: wait for ever. */
  stallMs?: number;
  signal?: AbortSignal | undefined;
}

export class ByteReader {
  /** Bytes taken so far. */
  taken = 0;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #stallMs: number;
  readonly #signal: AbortSignal | undefined;
  #chunk: Uint8Array = new Uint8Array(0);

  constructor(stream: ReadableStream<Uint8Array>, options: ByteReaderOptions = {}) {
    this.#reader = stream.getReader();
    this.#stallMs = options.stallMs ?? 0;
    this.#signal = options.signal;
  }

  /** Up to `most` bytes, at least one, as a view that is valid until the next call; null at the end. */
  async some(most: number): Promise<Uint8Array | null> {
    while (this.#chunk.length === 0) {
      const next = await this.#next();
      if (!next) return null;
      this.#chunk = next;
    }
    const piece = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(piece.length);
    this.taken += piece.length;
    return piece;
  }

  /** Exactly `count` bytes, copied; null when the stream ends first. The caller bounds `count`. */
  async exactly(count: number): Promise<Uint8Array<ArrayBuffer> | null> {
    const bytes = new Uint8Array(count);
    for (let filled = 0; filled < count;) {
      const piece = await this.some(count - filled);
      if (!piece) return null;
      bytes.set(piece, filled);
      filled += piece.length;
    }
    return bytes;
  }

  async cancel(reason: unknown): Promise<void> {
    await this.#reader.cancel(reason).catch(() => {});
  }

  async #next(): Promise<Uint8Array | null> {
    this.#signal?.throwIfAborted();
    const { promise: interrupted, reject } = Promise.withResolvers<never>();
    const abort = (): void => reject(this.#signal?.reason);
    this.#signal?.addEventListener("abort", abort, { once: true });
    const timer =
      this.#stallMs > 0
        ? setTimeout(
            () => reject(new DvsError("UNAVAILABLE", `no byte came for ${this.#stallMs} ms`)),
            this.#stallMs,
          )
        : undefined;
    try {
      const next = await Promise.race([this.#reader.read(), interrupted]);
      return next.done ? null : next.value;
    } finally {
      clearTimeout(timer);
      this.#signal?.removeEventListener("abort", abort);
    }
  }
}
