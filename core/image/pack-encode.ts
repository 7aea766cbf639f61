/** Writes a pack (see pack.ts), reading blobs only as fast as it is taken. */
import { DvsError } from "../errors.ts";
import {
  encodeEnd,
  encodeHead,
  kindAbsent,
  kindBlob,
  packMagic,
  smallBlobBytes,
  smallBlobsInFlight,
} from "./pack.ts";

/** Where a pack's blobs come from: a BlobStore, or a directory being built into an image. */
export interface BlobSource {
  /** Bytes; undefined where the blob is not there. */
  size(digest: string): number | undefined;
  /** Verified content; rejects with NOT_FOUND or FAILED when there is no good copy. */
  read(digest: string): Promise<Uint8Array>;
  openStream(digest: string): ReadableStream<Uint8Array>;
}

export interface EncodeOptions {
  /** A blob without a good copy here: it goes as `absent`. Without this the stream ends with the error. */
  onAbsent?: (digest: string) => void;
}

/** Frames are joined into chunks of about this size. */
const chunkBytes = 64 * 1024;

export function encodePack(
  digests: Iterable<string>,
  source: BlobSource,
  options: EncodeOptions = {},
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const chunks = joined(frames(digests, source, options));
  return new ReadableStream(
    {
      async pull(controller) {
        const next = await chunks.next();
        if (next.done) controller.close();
        else controller.enqueue(next.value);
      },
      async cancel() {
        await chunks.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

type Small = { digest: string; bytes: Promise<Uint8Array | null> };

async function* frames(
  digests: Iterable<string>,
  source: BlobSource,
  options: EncodeOptions,
): AsyncGenerator<Uint8Array> {
  yield packMagic;
  let count = 0;
  /** Small blobs being read ahead, in order. */
  const ahead: Small[] = [];
  async function* takeAhead(keep: number): AsyncGenerator<Uint8Array> {
    while (ahead.length > keep) {
      const { digest, bytes } = ahead.shift() as Small;
      const content = await bytes;
      count++;
      yield encodeHead(content ? kindBlob : kindAbsent, digest, content?.length ?? 0);
      if (content) yield content;
    }
  }
  const readSmall = async (digest: string): Promise<Uint8Array | null> => {
    try {
      return await source.read(digest);
    } catch (e) {
      const code = e instanceof DvsError ? e.code : undefined;
      if (!options.onAbsent || (code !== "NOT_FOUND" && code !== "FAILED")) throw e;
      options.onAbsent(digest);
      return null;
    }
  };
  for (const digest of digests) {
    const size = source.size(digest);
    if (size === undefined || size <= smallBlobBytes) {
      const bytes = readSmall(digest);
      bytes.catch(() => {}); // Heard of when its turn comes.
      ahead.push({ digest, bytes });
      yield* takeAhead(smallBlobsInFlight);
      continue;
    }
    yield* takeAhead(0);
    count++;
    yield encodeHead(kindBlob, digest, size);
    yield* exactly(source.openStream(digest), size, digest);
  }
  yield* takeAhead(0);
  yield encodeEnd(count);
}

/** The stream's bytes; rejects when they are more or fewer than the head already says. */
async function* exactly(
  stream: ReadableStream<Uint8Array>,
  size: number,
  digest: string,
): AsyncGenerator<Uint8Array> {
  let sent = 0;
  for await (const chunk of stream) {
    sent += chunk.length;
    if (sent > size) break;
    yield chunk;
  }
  if (sent !== size) {
    throw new DvsError(
      "CONFLICT",
      `Cannot send blob ${digest}: its ${size} bytes changed while they were read`,
    );
  }
}

async function* joined(pieces: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let chunk = new Uint8Array(chunkBytes);
  let filled = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + chunkBytes - filled);
      chunk.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < chunkBytes) continue;
      yield chunk;
      chunk = new Uint8Array(chunkBytes);
      filled = 0;
    }
  }
  if (filled > 0) yield chunk.subarray(0, filled);
}
