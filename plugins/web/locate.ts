/** From a request's path to what answers it: a file of the image, a redirect, or nothing. Pure in the image and options. */
import type { ImageEntry, ImageReader } from "../../core/vos.ts";
import { compileGlob, substitute, type Glob } from "./glob.ts";
import { encodePath, isHidden } from "./request-path.ts";
import type { WebOptions } from "./options.ts";

export type Target =
  | { type: "file"; entry: ImageEntry }
  /** `query`: whether the request's query goes along. */
  | { type: "redirect"; location: string; status: number; query: boolean }
  | { type: "nothing" };

export class Locator {
  readonly #image: ImageReader;
  readonly #options: WebOptions;
  readonly #redirects: { from: Glob; to: string; status: number }[];
  readonly #rewrites: { from: Glob; to: string }[];

  constructor(image: ImageReader, options: WebOptions) {
    this.#image = image;
    this.#options = options;
    this.#redirects = options.redirects.map((rule) => ({ ...rule, from: compileGlob(rule.from) }));
    this.#rewrites = options.rewrites.map((rule) => ({ ...rule, from: compileGlob(rule.from) }));
  }

  /** The redirect that a rule demands, whatever the method. */
  redirect(path: string): Target | null {
    for (const { from, to, status } of this.#redirects) {
      const captures = from(path);
      if (!captures) continue;
      // A capture is path text: it can neither start a query nor, at the front, name another host.
      const filled = substitute(to, captures.map(encodePart));
      const location = to.startsWith("/") ? filled.replace(/^\/{2,}/, "/") : filled;
      return { type: "redirect", location, status, query: !location.includes("?") };
    }
    return null;
  }

  /** What answers GET. */
  locate(path: string): Target {
    if (!this.#options.dotFiles && isHidden(path)) return { type: "nothing" };
    const found = this.#find(this.#rewritten(path));
    if (found.type !== "nothing") return found;
    const { spaFallback } = this.#options;
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (spaFallback !== null && !name.includes(".")) return this.#file(spaFallback) ?? found;
    return found;
  }

  #rewritten(path: string): string {
    for (const { from, to } of this.#rewrites) {
      const captures = from(path);
      // A capture may hold what is no path of a file (`a//b`): it then names nothing, as any such path.
      if (captures) return substitute(to, captures);
    }
    return path;
  }

  #find(path: string): Target {
    const { cleanUrls, index } = this.#options;
    if (path.endsWith("/")) {
      const found = this.#index(path);
      if (found) return { type: "file", entry: found };
      // `/file/` is not `/file`.
      return { type: "nothing" };
    }
    const entry = this.#image.resolve(path);
    if (entry?.type === "file") {
      const clean = cleanUrls ? cleanUrlOf(path, index) : null;
      if (clean !== null) return { type: "redirect", location: encodePath(clean), status: 308, query: true };
      return { type: "file", entry };
    }
    const page = cleanUrls ? this.#file(`${path}.html`) : null;
    if (page) return page;
    if (entry?.type === "directory" && this.#index(`${path}/`)) {
      return { type: "redirect", location: encodePath(`${path}/`), status: 301, query: true };
    }
    return { type: "nothing" };
  }

  #index(directory: string): ImageEntry | null {
    for (const name of this.#options.index) {
      const entry = this.#image.resolve(directory + name);
      if (entry?.type === "file") return entry;
    }
    return null;
  }

  #file(path: string): Target | null {
    const entry = this.#image.resolve(path);
    return entry?.type === "file" ? { type: "file", entry } : null;
  }
}

/** `/about.html` → `/about`, `/docs/index.html` → `/docs/`; null where the URL is clean. */
function cleanUrlOf(path: string, index: string[]): string | null {
  if (!path.endsWith(".html")) return null;
  const slash = path.lastIndexOf("/") + 1;
  const name = path.slice(slash);
  return index.includes(name) ? path.slice(0, slash) : path.slice(0, -".html".length);
}

function encodePart(part: string): string {
  return encodeURI(part).replaceAll(/[?#]/g, encodeURIComponent);
}

/** Whether a path of the options means a file of the image. */
export function fileAt(image: ImageReader, path: string): ImageEntry | null {
  const entry = image.resolve(path);
  return entry?.type === "file" ? entry : null;
}
