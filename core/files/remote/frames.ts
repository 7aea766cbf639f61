/**
 * Files on their way between a person's machine and a volume: frames, each a header in JSON and perhaps bytes behind
 * it, so that many small files and pieces of large ones are one stream.
 *
 *     u32 bytes of the header, big-endian │ header │ as many bytes as its `bytes` says, none without it
 */
import { DvsError } from "../../errors.ts";
import { fileFrameBytesMax, KiB } from "../../limits.ts";

/** Two paths of 4 KiB, escaped as JSON may have to. */
const headerBytesMax = 64 * KiB;
const lengthBytes = 4;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface Frame {
  header: unknown;
  /** The reader's own. */
  bytes: Uint8Array;
}

export function encodeFrame(header: object, bytes?: Uint8Array): Uint8Array {
  const text = encoder.encode(JSON.stringify(bytes ? { ...header, bytes: bytes.length } : header));
  const frame = new Uint8Array(lengthBytes + text.length + (bytes?.length ?? 0));
  new DataView(frame.buffer).setUint32(0, text.length);
  frame.set(text, lengthBytes);
  if (bytes) frame.set(bytes, lengthBytes + text.length);
  return frame;
}

/** Memory: one frame. Throws INVALID for what is none, UNAVAILABLE where the stream ends within one. */
export async function* readFrames(stream: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  const source = new Exactly(stream);
  try {
    for (;;) {
      const head = await source.take(lengthBytes, true);
      if (!head) return;
      const length = new DataView(head.buffer, head.byteOffset).getUint32(0);
      if (length > headerBytesMax) throw malformed(`a header of ${length} bytes`);
      const header = parse((await source.take(length))!);
      const bytes = (header as { bytes?: unknown }).bytes ?? 0;
      if (!Number.isSafeInteger(bytes) || (bytes as number) < 0 || (bytes as number) > fileFrameBytesMax) {
        throw malformed(`bytes: ${JSON.stringify(bytes)}`);
      }
      yield { header, bytes: (await source.take(bytes as number))! };
    }
  } finally {
    await source.cancel();
  }
}

function parse(text: Uint8Array): object {
  let header: unknown;
  try {
    header = JSON.parse(decoder.decode(text));
  } catch (cause) {
    throw new DvsError("INVALID", "Cannot read a stream of files: a header is no JSON.", { cause });
  }
  if (header === null || typeof header !== "object") throw malformed("a header that is no object");
  return header;
}

function malformed(what: string): DvsError {
  return new DvsError("INVALID", `Cannot read a stream of files: a frame has ${what}.`);
}

/** So many bytes of a stream, however it is cut. */
class Exactly {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest = new Uint8Array(0);

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** Null at the end, where it may be. */
  async take(length: number, mayEnd = false): Promise<Uint8Array | null> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      if (this.#rest.length === 0) {
        const { done, value } = await this.#reader.read();
        if (done && at === 0 && mayEnd) return null;
        if (done) throw new DvsError("UNAVAILABLE", "The stream of files was cut.");
        this.#rest = value as Uint8Array<ArrayBuffer>;
        continue;
      }
      const part = this.#rest.subarray(0, length - at);
      bytes.set(part, at);
      at += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return bytes;
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel().catch(() => undefined);
  }
}
