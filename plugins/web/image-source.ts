/** The files of an image: known at once, and the same for ever. */
import type { ImageEntry, ImageReader } from "../../core/vos.ts";
import { codings, type Coding } from "./encodings.ts";
import type { WebOptions } from "./options.ts";
import { type Found, lookNow, type Looking, type ServedFile } from "./served.ts";
import { type Neighbours, noNeighbours, type Source } from "./source.ts";

/** Hex digits of the SHA-256 in an entity tag: 128 bits, no two files of this world share them. */
const tagDigits = 32;

export class ImageSource implements Source {
  readonly immutable = true;
  readonly #image: ImageReader;
  readonly #precompressed: boolean;
  /** An image keeps no times of its own. */
  readonly #modifiedMs: number | null;

  constructor(image: ImageReader, { precompressed, modifiedAt }: WebOptions) {
    this.#image = image;
    this.#precompressed = precompressed;
    this.#modifiedMs = modifiedAt === null ? null : Math.floor(Date.parse(modifiedAt) / 1000) * 1000;
  }

  look<Answer>(question: Looking<Answer>): Answer {
    return lookNow(question, (path) => this.find(path));
  }

  find(path: string): Found {
    const entry = this.#image.resolve(path);
    if (entry?.type === "file") return new ImageFile(this.#image, entry, this.#modifiedMs);
    return entry?.type === "directory" ? "directory" : null;
  }

  neighbours({ path }: ServedFile): Neighbours {
    if (!this.#precompressed) return noNeighbours;
    const found = new Map<Coding, ServedFile>();
    for (const { coding, suffix } of codings) {
      const neighbour = this.find(path + suffix);
      if (neighbour !== null && neighbour !== "directory") found.set(coding, neighbour);
    }
    return found;
  }
}

class ImageFile implements ServedFile {
  readonly path: string;
  readonly size: number;
  readonly tag: string;
  readonly modifiedMs: number | null;
  readonly #image: ImageReader;
  readonly #entry: ImageEntry;

  constructor(image: ImageReader, entry: ImageEntry, modifiedMs: number | null) {
    const { path, size, digest } = entry;
    this.path = path;
    this.size = size;
    const hex = digest.indexOf(":") + 1;
    this.tag = digest.slice(hex, hex + tagDigits);
    this.modifiedMs = modifiedMs;
    this.#image = image;
    this.#entry = entry;
  }

  read(): Promise<Uint8Array> {
    return this.#image.read(this.#entry);
  }

  stream(start: number, end: number): ReadableStream<Uint8Array> {
    return this.#image.stream(this.#entry, start, end);
  }

  local(): Promise<string | null> {
    return this.#image.file(this.#entry);
  }
}
