/**
 * A backup of an instance's OS state as one stream, which tells by itself whether it is whole:
 *
 *   header line of JSON | frames: length (4 bytes, big-endian), bytes | length 0 | SHA-256 of all before (32 bytes)
 *
 * Instead of the header a line `{"error": …}` may come: there is no backup, and why. What the frames hold is the state
 * process's own; everything between it and the file passes them on: the streams that the header names, behind one
 * another. `state` is a snapshot of its database; `blocks` are the bytes that it names, where there are any: of each
 * segment in its table `segment`, in their order, as many as it says; `blobs` those of files of images that it names
 * (module.ts, BackupRules), so that it can be restored where the image is not. In version 1 there were no names: all of
 * it is `state`.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { DvsError } from "../../errors.ts";
import { MiB } from "../../limits.ts";

const Stream = z.object({
  name: z.string().regex(/^[a-z0-9][a-z0-9/.-]{0,254}$/),
  bytes: z.number().int().min(0),
});
export const stateStream = "state";
export const blocksStream = "blocks";
export const blobsStream = "blobs";
/** In this order. */
export const knownStreams: readonly string[] = [stateStream, blocksStream, blobsStream];

export const BackupHeader = z.object({
  format: z.literal("dvs-state-backup"),
  version: z.union([z.literal(1), z.literal(2)]),
  /** Each once, in their order; from version 2 on. */
  streams: z.array(Stream).min(1).max(16_384).optional(),
  tenant: z.string(),
  instance: z.string(),
  uid: z.string(),
  os: z.string(),
  /** The last record that it has: all before are in it, and none after. */
  epoch: z.number().int().min(0),
  index: z.number().int().min(0),
  madeAt: z.string(),
});
export type BackupHeader = z.infer<typeof BackupHeader>;

const headerBytesMax = 8 * MiB;
const frameBytesMax = 1 * MiB;
const digestBytes = 32;

/** Chunks larger than a frame are cut. */
export async function* encodeBackup(
  header: BackupHeader,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  const told = (bytes: Uint8Array) => {
    hash.update(bytes);
    return bytes;
  };
  yield told(new TextEncoder().encode(`${JSON.stringify(header)}\n`));
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += frameBytesMax) {
      const part = chunk.subarray(at, at + frameBytesMax);
      yield told(lengthOf(part.length));
      yield told(part);
    }
  }
  yield told(lengthOf(0));
  yield hash.digest();
}

/**
 * The parts of a backup as they come. Throws what the sender says instead of one; INVALID for what is none; and at the
 * end of `chunks` FAILED when it was cut short or is damaged: nobody acts on a chunk before that.
 */
export async function readBackup(
  stream: AsyncIterable<Uint8Array>,
): Promise<{ header: BackupHeader; chunks: AsyncGenerator<Uint8Array> }> {
  const hash = createHash("sha256");
  const source = new ByteSource(stream);
  const line = await source.line(headerBytesMax);
  if (line === null) throw new DvsError("INVALID", "This is no backup of an instance's state.");
  hash.update(line);
  const header = headerOf(line);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const head = await source.take(4);
      hash.update(head);
      const length = new DataView(head.buffer, head.byteOffset).getUint32(0);
      if (length === 0) break;
      if (length > frameBytesMax) throw damaged();
      const bytes = await source.take(length);
      hash.update(bytes);
      yield bytes;
    }
    const digest = await source.take(digestBytes);
    if (!hash.digest().equals(digest) || !(await source.isEmpty())) throw damaged();
  }
  return { header, chunks: chunks() };
}

/** The same stream, checked as it passes: it ends with an error when it is not whole. */
export async function* checkedBackup(
  stream: AsyncIterable<Uint8Array>,
  onHeader: (header: BackupHeader) => void = () => undefined,
): AsyncGenerator<Uint8Array> {
  const { header, chunks } = await readBackup(stream);
  onHeader(header);
  yield* encodeBackup(header, chunks);
}

/** Chunks by the name of their stream. Throws FAILED at the end when there is more or less than the header says. */
export async function* streamsOf(
  { streams }: BackupHeader,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<[name: string, bytes: Uint8Array]> {
  const left = (streams ?? [{ name: stateStream, bytes: Infinity }]).map((stream) => ({ ...stream }));
  for await (let chunk of chunks) {
    while (chunk.length > 0) {
      const stream = left.find(({ bytes }) => bytes > 0);
      if (!stream) throw damaged();
      const part = chunk.subarray(0, Math.min(chunk.length, stream.bytes));
      stream.bytes -= part.length;
      yield [stream.name, part];
      chunk = chunk.subarray(part.length);
    }
  }
  if (left.some(({ bytes }) => bytes > 0 && bytes !== Infinity)) throw damaged();
}

/** What is sent instead of a backup. */
export function backupError(error: DvsError): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(error.toBody())}\n`);
}

function headerOf(line: Uint8Array): BackupHeader {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(line));
  } catch (cause) {
    throw new DvsError("INVALID", "This is no backup of an instance's state.", { cause });
  }
  if (json !== null && typeof json === "object" && "error" in json) throw DvsError.fromBody(json);
  const header = BackupHeader.safeParse(json);
  if (header.success && (header.data.version === 1) === (header.data.streams === undefined))
    return header.data;
  throw new DvsError(
    "INVALID",
    "This is no backup of an instance's state, or one of another version of dvs.",
  );
}

function lengthOf(length: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, length);
  return bytes;
}

function damaged(): DvsError {
  return new DvsError("FAILED", "The backup is damaged or was cut short: take another.");
}

/** Bytes of a stream in pieces of the size that is asked for, each copied once. */
class ByteSource {
  readonly #iterator: AsyncIterator<Uint8Array>;
  /** What has come, none of it empty; of the first one only what is behind `#at`. */
  #held: Uint8Array[] = [];
  #at = 0;
  #bytes = 0;

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#iterator = stream[Symbol.asyncIterator]();
  }

  /** Throws FAILED when there are not so many. */
  async take(count: number): Promise<Uint8Array> {
    while (this.#bytes < count) if (!(await this.#more())) throw damaged();
    const taken = new Uint8Array(count);
    for (let filled = 0; filled < count;) {
      const first = this.#held[0]!;
      const part = first.subarray(this.#at, this.#at + count - filled);
      taken.set(part, filled);
      filled += part.length;
      this.#at += part.length;
      if (this.#at < first.length) break;
      this.#held.shift();
      this.#at = 0;
    }
    this.#bytes -= count;
    return taken;
  }

  /** With its end; null when there is none within so many bytes. */
  async line(bytesMax: number): Promise<Uint8Array | null> {
    let before = 0;
    for (let i = 0; ; i++) {
      while (i === this.#held.length) if (before > bytesMax || !(await this.#more())) return null;
      const from = i === 0 ? this.#at : 0;
      const end = this.#held[i]!.indexOf(10, from);
      if (end >= 0) return this.take(before + end - from + 1);
      before += this.#held[i]!.length - from;
    }
  }

  async isEmpty(): Promise<boolean> {
    return this.#bytes === 0 && !(await this.#more());
  }

  async #more(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.#iterator.next();
      if (done) return false;
      if (value.length === 0) continue;
      this.#held.push(value);
      this.#bytes += value.length;
      return true;
    }
  }
}
