/** Reads a pack (see pack.ts) into a blob store, verifying everything. A pack comes from another machine. */
import { DvsError } from "../errors.ts";
import { blobBytesMax, packFramesMax } from "../limits.ts";
import type { BlobStore } from "./blob-store.ts";
import { ByteReader, type ByteReaderOptions } from "./byte-reader.ts";
import {
  decodeHead,
  frameHeadBytes,
  type FrameHead,
  kindAbsent,
  kindBlob,
  kindEnd,
  packMagic,
  smallBlobBytes,
  smallBlobsInFlight,
} from "./pack.ts";

export interface DecodeOptions extends ByteReaderOptions {
  /** Frames that the pack may have. */
  framesMax?: number;
  /** Content bytes that the pack may have in all. */
  bytesMax?: number;
  /** Digest to size of what was asked for: anything else is refused. Without it any blob is taken. */
  wanted?: ReadonlyMap<string, number>;
  /** A blob is stored (readable here; see BlobStore about power cuts). */
  onStored?: (digest: string, size: number) => void;
  /** Content that was not what its head said: nothing of it is kept. Without this the decoding ends with the error. */
  onBad?: (digest: string, error: DvsError) => void;
  /** The sender has no good copy. Without this the decoding ends with an error. */
  onAbsent?: (digest: string) => void;
}

/**
 * Stores a pack's blobs. Rejects with INVALID for what is no pack, TOO_LARGE beyond a limit, UNAVAILABLE when it is
 * cut off; the blobs that came whole before are kept, and `onStored` was told of each.
 */
export async function decodePack(
  stream: ReadableStream<Uint8Array>,
  store: BlobStore,
  options: DecodeOptions = {},
): Promise<{ blobs: number; bytes: number }> {
  const reader = new ByteReader(stream, options);
  const puts = new Puts(store, options);
  try {
    await decodeFrames(reader, puts, options);
    await puts.settle();
    return { blobs: puts.blobs, bytes: puts.bytes };
  } catch (e) {
    await reader.cancel(e);
    // What came whole is kept: the caller hears of it before of the error.
    await puts.settle().catch(() => {});
    throw e;
  }
}

async function decodeFrames(reader: ByteReader, puts: Puts, options: DecodeOptions): Promise<void> {
  const framesMax = options.framesMax ?? packFramesMax;
  const magic = await reader.exactly(packMagic.length);
  if (!magic) throw cutOff(reader, "before its first frame");
  if (magic.some((byte, i) => byte !== packMagic[i])) throw invalid("it does not begin with `dvspack1`");
  let content = 0;
  for (let frames = 0; ; frames++) {
    const head = await reader.exactly(frameHeadBytes);
    if (!head) throw cutOff(reader, `after ${frames} frames, without an end`);
    const frame = decodeHead(head);
    if (frame.kind === kindEnd) {
      if (frame.size !== frames) throw invalid(`its end counts ${frame.size} frames, there were ${frames}`);
      if (await reader.some(1)) throw invalid("there are bytes after its end");
      return;
    }
    if (frames === framesMax) throw tooLarge(`more than the limit of ${framesMax} frames`);
    checkHead(frame, options);
    if (frame.kind === kindAbsent) {
      puts.absent(frame.digest);
      continue;
    }
    content += frame.size;
    if (content > (options.bytesMax ?? Infinity)) {
      throw tooLarge(`more than the limit of ${options.bytesMax} bytes of content`);
    }
    await decodeBlob(reader, puts, frame);
  }
}

function checkHead({ kind, digest, size }: FrameHead, { wanted }: DecodeOptions): void {
  if (kind !== kindBlob && kind !== kindAbsent) throw invalid(`a frame has the unknown kind ${kind}`);
  if (kind === kindAbsent && size !== 0) throw invalid(`an absent blob has ${size} bytes`);
  if (size > blobBytesMax) {
    throw tooLarge(`blob ${digest} of ${size} bytes, more than the limit of ${blobBytesMax}`);
  }
  if (!wanted) return;
  const expected = wanted.get(digest);
  if (expected === undefined) throw invalid(`blob ${digest} was not asked for`);
  if (kind === kindBlob && size !== expected) {
    throw invalid(`blob ${digest} has ${size} bytes, the manifest says ${expected}`);
  }
}

async function decodeBlob(reader: ByteReader, puts: Puts, { digest, size }: FrameHead): Promise<void> {
  let left = size;
  if (size <= smallBlobBytes) {
    const bytes = await reader.exactly(size);
    if (!bytes) throw cutOff(reader, `in the middle of blob ${digest}`);
    await puts.start(digest, bytes);
    return;
  }
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    while (left > 0) {
      const piece = await reader.some(left);
      if (!piece) throw cutOff(reader, `in the middle of blob ${digest}`);
      left -= piece.length;
      yield piece;
    }
  };
  await puts.run(digest, size, pieces());
  // A blob that was here already is not looked at, but still in the way.
  for await (const _ of pieces());
}

/** Puts under way, so many at a time, and what became of them. */
class Puts {
  blobs = 0;
  bytes = 0;
  readonly #store: BlobStore;
  readonly #options: DecodeOptions;
  readonly #running = new Set<Promise<void>>();
  #failure: unknown;

  constructor(store: BlobStore, options: DecodeOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Begins to store a small blob; waits only while too many are under way. Throws what an earlier one failed with. */
  async start(digest: string, bytes: Uint8Array): Promise<void> {
    if (this.#running.size >= smallBlobsInFlight) await Promise.race(this.#running);
    if (this.#failure !== undefined) throw this.#failure;
    const put = this.run(digest, bytes.length, [bytes])
      .catch((e: unknown) => {
        this.#failure ??= e;
      })
      .finally(() => this.#running.delete(put));
    this.#running.add(put);
  }

  async run(
    digest: string,
    size: number,
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    try {
      await this.#store.put(content, digest, { size });
    } catch (e) {
      if (!(e instanceof DvsError && e.code === "INVALID") || !this.#options.onBad) throw e;
      this.#options.onBad(digest, e);
      return;
    }
    this.blobs++;
    this.bytes += size;
    this.#options.onStored?.(digest, size);
  }

  absent(digest: string): void {
    if (!this.#options.onAbsent) {
      throw new DvsError("NOT_FOUND", `Cannot read the pack: its sender has no good copy of blob ${digest}`);
    }
    this.#options.onAbsent(digest);
  }

  async settle(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function invalid(what: string): DvsError {
  return new DvsError("INVALID", `Invalid pack: ${what}`);
}

function tooLarge(what: string): DvsError {
  return new DvsError("TOO_LARGE", `Cannot take the pack: it has ${what}`);
}

function cutOff(reader: ByteReader, where: string): DvsError {
  return new DvsError("UNAVAILABLE", `The pack was cut off ${where} (${reader.taken} bytes came)`);
}
