/** A file of the volume, as it was when it was looked up: what is read of it is of that content, or is refused. */
import { MiB } from "../../../core/limits.ts";
import type { Attributes } from "../../../core/files/attributes.ts";
import { FileError } from "../../../core/files/errno.ts";
import type { FileSystem, OpenFile } from "../../../core/files/file-system.ts";
import { Outdated, type ServedFile } from "../served.ts";

/** Of a large file at a time: so much of each download is in memory, twice. */
const pieceBytes = MiB;

export class VolumeFile implements ServedFile {
  readonly path: string;
  readonly tag: string;
  readonly attributes: Attributes;
  /** The directory that has it under the name by which it was asked for. */
  readonly place: { parent: number; name: string };
  readonly #fs: FileSystem;

  constructor(
    fs: FileSystem,
    path: string,
    attributes: Attributes,
    { tag, place }: { tag: string; place: { parent: number; name: string } },
  ) {
    this.path = path;
    this.tag = tag;
    this.attributes = attributes;
    this.place = place;
    this.#fs = fs;
  }

  get size(): number {
    return this.attributes.size;
  }

  get modifiedMs(): number {
    return this.attributes.mtime.seconds * 1000;
  }

  async read(): Promise<Uint8Array> {
    const file = await this.#open();
    try {
      return await this.#piece(file, 0, this.size);
    } finally {
      await file.close();
    }
  }

  /** Another content in its place does not end it; a change of this very content does, since that would mix two. */
  stream(start: number, end: number): ReadableStream<Uint8Array> {
    let file: OpenFile | null = null;
    let at = start;
    const close = async (): Promise<void> => {
      const closing = file;
      file = null;
      at = end;
      await closing?.close();
    };
    return new ReadableStream(
      {
        pull: async (controller) => {
          try {
            if (at < end) {
              file ??= await this.#open();
              const length = Math.min(pieceBytes, end - at);
              controller.enqueue(await this.#piece(file, at, length));
              at += length;
            }
            if (at < end) return;
            await close();
            controller.close();
          } catch (e) {
            await close();
            throw e;
          }
        },
        cancel: close,
      },
      { highWaterMark: 0 },
    );
  }

  local(): Promise<string | null> {
    return Promise.resolve(null);
  }

  async #open(): Promise<OpenFile> {
    try {
      return await this.#fs.open(this.attributes.ino, { read: true });
    } catch (e) {
      throw orOutdated(e, this.path);
    }
  }

  async #piece(file: OpenFile, at: number, length: number): Promise<Uint8Array> {
    try {
      const bytes = await file.read(at, length);
      // Afterwards: so it was still the same when they were read.
      if (bytes.length === length && this.#isContent(await file.attributes())) return bytes;
    } catch (e) {
      throw orOutdated(e, this.path);
    }
    throw new Outdated(`${this.path} was changed while it was read`);
  }

  /** A name more or less, and all else that is not content, may have changed. */
  #isContent({ size, mtime: { seconds, nanos } }: Attributes): boolean {
    const { mtime } = this.attributes;
    return size === this.size && seconds === mtime.seconds && nanos === mtime.nanos;
  }
}

function orOutdated(e: unknown, path: string): unknown {
  return e instanceof FileError && e.code === "ESTALE" ? new Outdated(`${path} was removed`) : e;
}
