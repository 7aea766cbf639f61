/**
 * What may be written to the volume over HTTP: PUT, DELETE and WebDAV class 1 (RFC 4918), where the options allow it and
 * for whom they do. Locks (class 2) are not offered: what two clients do to one file is told apart by its entity tag.
 */
import type { FileSystem } from "../../../core/files/file-system.ts";
import { contentType } from "../content-types.ts";
import { compileGlob, type Glob } from "../glob.ts";
import type { WebOptions } from "../options.ts";
import { readingMethods } from "../reasons.ts";
import { isHidden } from "../request-path.ts";
import { Outdated } from "../served.ts";
import { namesIn } from "../volume/paths.ts";
import type { TagOf } from "../volume/tag.ts";
import { type DavAnswer, refusalOf } from "./answer.ts";
import { authorize } from "./authorize.ts";
import type { DavContext, Target } from "./context.ts";
import { copyOrMove } from "./copy-move.ts";
import { makeCollection } from "./make-collection.ts";
import { propfind } from "./propfind.ts";
import { proppatch } from "./proppatch.ts";
import { put } from "./put.ts";
import { remove } from "./remove.ts";
import { WorkArea } from "./work-area.ts";

type Method = (context: DavContext, target: Target, request: Request) => Promise<DavAnswer>;
const methods: Record<string, Method> = {
  PUT: put,
  DELETE: remove,
  MKCOL: makeCollection,
  COPY: copyOrMove,
  MOVE: copyOrMove,
  PROPFIND: propfind,
  PROPPATCH: proppatch,
};
const allow = `${readingMethods}, ${Object.keys(methods).join(", ")}`;
/** Requests that write at the same time in one container: each has up to a MiB in memory. */
const underWayMax = 64;

export interface UploadsParts {
  fs: FileSystem;
  tagOf: TagOf;
  options: WebOptions & { uploads: NonNullable<WebOptions["uploads"]> };
  report: (message: string, e: unknown) => void;
}

export class Uploads {
  readonly options = { allow, dav: "1", "ms-author-via": "DAV" };
  readonly #context: DavContext;
  readonly #tokens: readonly string[] | null;
  readonly #work: WorkArea;
  readonly #patterns: { matches: Glob; hasAllBelow: boolean }[];
  readonly #showsDotFiles: boolean;
  #underWay = 0;

  constructor({ fs, tagOf, options, report }: UploadsParts) {
    const { uploads, contentTypes, charset, dotFiles } = options;
    this.#tokens = uploads.tokens;
    this.#showsDotFiles = dotFiles;
    this.#patterns = uploads.paths.map((pattern) => ({
      matches: compileGlob(pattern),
      hasAllBelow: pattern.endsWith("**"),
    }));
    this.#work = new WorkArea(fs, report);
    this.#context = {
      fs,
      work: this.#work,
      tagOf,
      fileBytesMax: uploads.fileBytesMax,
      contentType: (path) => contentType(path, contentTypes, charset),
      target: (path) => this.#target(path),
      isShown: (path) => this.#isShown(path),
    };
  }

  takes(path: string): boolean {
    return this.#target(path) !== null;
  }

  /** Only of paths that it takes. Throws what is not the request's fault. */
  async answer(path: string, request: Request): Promise<DavAnswer> {
    const method = Object.hasOwn(methods, request.method) ? methods[request.method] : undefined;
    if (!method) return { status: 405, headers: { allow } };
    if (this.#underWay >= underWayMax) return { status: 503, headers: { "retry-after": "1" } };
    this.#underWay++;
    try {
      authorize(request.headers, this.#tokens);
      // It names locks, of which there are none; and a part of a page is nothing that could be written.
      if (request.headers.has("if")) return { status: 412 };
      if (request.url.includes("#")) return { status: 400 };
      const target = this.#target(path);
      return target ? await method(this.#context, target, request) : { status: 403 };
    } catch (e) {
      // A file changed while it was copied.
      if (e instanceof Outdated) return { status: 409 };
      const refused = refusalOf(e);
      if (!refused) throw e;
      return refused;
    } finally {
      this.#underWay--;
    }
  }

  close(): Promise<void> {
    return this.#work.close();
  }

  /** A path means the directory of its name as well: `/files/**` is `/files`, too. */
  #target(path: string): Target | null {
    const names = namesIn(path);
    if (!names || !this.#isShown(path)) return null;
    const bare = `/${names.join("/")}`;
    const asDirectory = bare === "/" ? "/" : `${bare}/`;
    const fitting = this.#patterns.filter(({ matches }) => matches(bare) ?? matches(asDirectory));
    if (fitting.length === 0) return null;
    const isWhole = fitting.some(({ matches, hasAllBelow }) => hasAllBelow && matches(asDirectory) !== null);
    return { names, isCollection: path.endsWith("/"), isWhole };
  }

  #isShown(path: string): boolean {
    return namesIn(path) !== null && (this.#showsDotFiles || !isHidden(path));
  }
}
