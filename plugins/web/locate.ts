/**
 * From a request's path to what answers it: a file, a redirect, or nothing. Pure in what it finds and in the options: it
 * asks for paths by yielding them (served.ts).
 */
import { compileGlob, substitute, type Glob } from "./glob.ts";
import { encodePath, isHidden } from "./request-path.ts";
import type { WebOptions } from "./options.ts";
import type { Looking, ServedFile } from "./served.ts";

export type Target =
  | { type: "file"; file: ServedFile }
  /** `query`: whether the request's query goes along. */
  | { type: "redirect"; location: string; status: number; query: boolean }
  | { type: "nothing" };

export class Locator {
  readonly #options: WebOptions;
  readonly #redirects: { from: Glob; to: string; status: number }[];
  readonly #rewrites: { from: Glob; to: string }[];

  constructor(options: WebOptions) {
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
  *locate(path: string): Looking<Target> {
    if (!this.#options.dotFiles && isHidden(path)) return { type: "nothing" };
    const found = yield* this.#find(this.#rewritten(path));
    if (found.type !== "nothing") return found;
    const { spaFallback } = this.#options;
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (spaFallback !== null && !name.includes(".")) return (yield* fileTarget(spaFallback)) ?? found;
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

  *#find(path: string): Looking<Target> {
    const { cleanUrls, index } = this.#options;
    if (path.endsWith("/")) {
      // `/file/` is not `/file`.
      return (yield* this.#index(path)) ?? { type: "nothing" };
    }
    const found = yield path;
    if (found !== null && found !== "directory") {
      const clean = cleanUrls ? cleanUrlOf(path, index) : null;
      if (clean !== null) return { type: "redirect", location: encodePath(clean), status: 308, query: true };
      return { type: "file", file: found };
    }
    const page = cleanUrls ? yield* fileTarget(`${path}.html`) : null;
    if (page) return page;
    if (found === "directory" && (yield* this.#index(`${path}/`))) {
      return { type: "redirect", location: encodePath(`${path}/`), status: 301, query: true };
    }
    return { type: "nothing" };
  }

  *#index(directory: string): Looking<Target | null> {
    for (const name of this.#options.index) {
      const target = yield* fileTarget(directory + name);
      if (target) return target;
    }
    return null;
  }
}

function* fileTarget(path: string): Looking<Target | null> {
  const found = yield path;
  return found !== null && found !== "directory" ? { type: "file", file: found } : null;
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
