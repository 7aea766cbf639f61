/** Directories of one request's paths, each looked for once: most of its files are in few of them. */
import type { FileSystem } from "../file-system.ts";
import { locatePath } from "../paths.ts";

export class Directories {
  readonly #fs: FileSystem;
  readonly #parents = new Map<string, Promise<number>>();

  constructor(fs: FileSystem) {
    this.#fs = fs;
  }

  /** As `locatePath`, for a path that may but need not end with "/". */
  async locate(path: string): Promise<{ parent: number; name: string }> {
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1);
    if (name === "" || name === "." || name === "..") return locatePath(this.#fs, path);
    const directory = path.slice(0, slash + 1);
    let parent = this.#parents.get(directory);
    if (!parent) {
      parent = locatePath(this.#fs, path).then((located) => located.parent);
      this.#parents.set(directory, parent);
      // Perhaps it is made by then.
      parent.catch(() => this.#parents.delete(directory));
    }
    return { parent: await parent, name };
  }
}
