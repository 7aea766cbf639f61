/**
 * The files of a volume, each looked up when it is asked for: so the next request on any node sees what was written
 * through another. Beside a replica that is a few reads of its tables.
 */
import { type Attributes, isDirectory, isSymlink, kindOf, kinds } from "../../../core/files/attributes.ts";
import { FileError } from "../../../core/files/errno.ts";
import type { FileSystem } from "../../../core/files/file-system.ts";
import { locatePath, resolvePath } from "../../../core/files/paths.ts";
import { MiB } from "../../../core/limits.ts";
import { ClockCache } from "../clock-cache.ts";
import { codings, type Coding } from "../encodings.ts";
import { type Found, look, type Looking, type ServedFile } from "../served.ts";
import { type Neighbours, noNeighbours, type Source } from "../source.ts";
import { namesIn } from "./paths.ts";
import type { TagOf } from "./tag.ts";
import { VolumeFile } from "./volume-file.ts";

/** Memory for names that have no compressed form beside them, and what one costs about. */
const aloneBytes = 4 * MiB;
const aloneWeight = 128;
/** A directory on the way was removed between two steps, perhaps because another took its place. */
const walksMax = 4;
/** There is nothing that could be served. */
const nothing = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG", "EILSEQ", "EACCES", "EINVAL"]);

export class VolumeSource implements Source {
  readonly immutable = false;
  readonly #fs: FileSystem;
  readonly #tagOf: TagOf;
  readonly #precompressed: boolean;
  /** By directory and name: at this change of the directory nothing compressed was beside it. */
  readonly #alone = new ClockCache<number>(aloneBytes);

  constructor(fs: FileSystem, tagOf: TagOf, { precompressed }: { precompressed: boolean }) {
    this.#fs = fs;
    this.#tagOf = tagOf;
    this.#precompressed = precompressed;
  }

  look<Answer>(question: Looking<Answer>): Promise<Answer> {
    return look(question, (path) => this.find(path));
  }

  async find(path: string): Promise<Found> {
    if (path.endsWith("/") || !namesIn(path)) return null;
    for (let walks = 1; ; walks++) {
      try {
        return await this.#find(path);
      } catch (e) {
        if (!(e instanceof FileError)) throw e;
        if (nothing.has(e.code)) return null;
        if (e.code !== "ESTALE" || walks === walksMax) throw e;
      }
    }
  }

  /**
   * Of these, only those that were changed after the file, or with it: one that was there before tells of an older
   * content.
   */
  async neighbours(file: ServedFile): Promise<Neighbours> {
    if (!this.#precompressed || !(file instanceof VolumeFile)) return noNeighbours;
    const { parent, name } = file.place;
    const key = `${parent}/${name}`;
    const { change } = await this.#fs.attributes(parent);
    if (this.#alone.get(key) === change) return noNeighbours;
    const candidates = await Promise.all(
      codings.map(async ({ coding, suffix }) => [coding, await this.#beside(file, suffix)] as const),
    );
    if (candidates.every(([, found]) => found === null)) this.#alone.set(key, change, aloneWeight);
    const found = new Map<Coding, ServedFile>();
    for (const [coding, neighbour] of candidates) {
      if (neighbour && neighbour.attributes.change >= file.attributes.change) found.set(coding, neighbour);
    }
    return found;
  }

  async #find(path: string): Promise<Found> {
    const place = await locatePath(this.#fs, path);
    let attributes = await this.#fs.lookup(place.parent, place.name);
    if (isSymlink(attributes)) attributes = await resolvePath(this.#fs, path);
    if (isDirectory(attributes)) return "directory";
    return kindOf(attributes) === kinds.file ? this.#file(path, attributes, place) : null;
  }

  async #beside({ path, place: { parent, name } }: VolumeFile, suffix: string): Promise<VolumeFile | null> {
    try {
      const place = { parent, name: name + suffix };
      const attributes = await this.#fs.lookup(parent, place.name);
      return kindOf(attributes) === kinds.file ? this.#file(path + suffix, attributes, place) : null;
    } catch (e) {
      if (e instanceof FileError && (nothing.has(e.code) || e.code === "ESTALE")) return null;
      throw e;
    }
  }

  #file(path: string, attributes: Attributes, place: { parent: number; name: string }): VolumeFile {
    return new VolumeFile(this.#fs, path, attributes, { tag: this.#tagOf(attributes), place });
  }
}
