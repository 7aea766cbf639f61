/** The entries of an image, found by path in one step, with symbolic links followed inside it. */
import { symlinkHopsMax } from "../limits.ts";
import type { ImageEntry } from "../vos.ts";
import { pathIssue } from "./path.ts";

export class ImageTree {
  readonly #entries = new Map<string, ImageEntry>();

  /** Takes the entries of a checked manifest, in its order. */
  constructor(entries: Iterable<ImageEntry>) {
    for (const entry of entries) this.#entries.set(entry.path, entry);
  }

  entry(path: string): ImageEntry | undefined {
    return this.#entries.get(path);
  }

  paths(): Iterable<string> {
    return this.#entries.keys();
  }

  /**
   * As open(2) would find it in a root of its own, but stricter: a link over the root finds nothing, and the path that
   * is asked for must be exact (targets of links need not). The cost is one step where no link is in the way, else one
   * per name.
   */
  resolve(path: string): ImageEntry | undefined {
    const found = this.#entries.get(path);
    if (found && found.type !== "symlink") return found;
    return pathIssue(path) === undefined ? this.#walk(path) : undefined;
  }

  #walk(path: string): ImageEntry | undefined {
    // Names still to go, the next one last.
    const ahead = path.split("/").reverse();
    let here = "/";
    let hops = 0;
    while (ahead.length > 0) {
      const name = ahead.pop();
      if (name === undefined || name === "" || name === ".") continue;
      if (this.#entries.get(here)?.type !== "directory") return undefined;
      if (name === "..") {
        if (here === "/") return undefined;
        here = here.slice(0, Math.max(1, here.lastIndexOf("/")));
        continue;
      }
      const next = here === "/" ? `/${name}` : `${here}/${name}`;
      const entry = this.#entries.get(next);
      if (!entry) return undefined;
      if (entry.type !== "symlink") {
        here = next;
        continue;
      }
      if (++hops > symlinkHopsMax) return undefined;
      if (entry.target.startsWith("/")) here = "/";
      ahead.push(...entry.target.split("/").reverse());
    }
    return this.#entries.get(here);
  }
}
