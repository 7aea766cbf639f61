/** The body of a 206 with several ranges: `multipart/byteranges` (RFC 9110 section 14.6). */
import type { ByteRange } from "./ranges.ts";
import type { ServedFile } from "./served.ts";

export interface Multipart {
  contentType: string;
  /** Bytes of the whole body. */
  size: number;
  body: ReadableStream<Uint8Array>;
}

export function multipart(file: ServedFile, ranges: ByteRange[], contentType: string): Multipart {
  // Whoever has written the file could not know it.
  const boundary = `dvs-${crypto.randomUUID()}`;
  const encoder = new TextEncoder();
  const heads = ranges.map(({ start, end }, i) =>
    encoder.encode(
      `${i === 0 ? "" : "\r\n"}--${boundary}\r\ncontent-type: ${contentType}\r\n` +
        `content-range: bytes ${start}-${end - 1}/${file.size}\r\n\r\n`,
    ),
  );
  const tail = encoder.encode(`\r\n--${boundary}--\r\n`);
  const size = ranges.reduce(
    (sum, { start, end }, i) => sum + (heads[i]?.length ?? 0) + end - start,
    tail.length,
  );
  async function* parts(): AsyncGenerator<Uint8Array> {
    for (const [i, { start, end }] of ranges.entries()) {
      const head = heads[i];
      if (head) yield head;
      yield* file.stream(start, end);
    }
    yield tail;
  }
  return { contentType: `multipart/byteranges; boundary=${boundary}`, size, body: streamOf(parts()) };
}

function streamOf(source: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream(
    {
      async pull(controller) {
        const next = await source.next();
        if (next.done) controller.close();
        else controller.enqueue(next.value);
      },
      async cancel() {
        await source.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}
