/**
 * The web VOS: answers requests with the files of its image, or of its volume. A request for a file of an image that is
 * in memory takes the short way in `fetch`, without a promise, a URL object or a header made anew; everything else goes
 * step by step in `#answer`. What is in a volume may change with each request, and is looked up for each.
 */
import { DvsError } from "../../core/errors.ts";
import { KiB, MiB } from "../../core/limits.ts";
import type { RequestInfo, Vos, VosHost } from "../../core/vos.ts";
import { AccessLine, clientOf, requestPart } from "./access-line.ts";
import { ClockCache } from "./clock-cache.ts";
import { isConditional } from "./conditions.ts";
import { Contents } from "./contents.ts";
import { echo, isEcho } from "./echo.ts";
import { FileResponder, type Answer } from "./file-response.ts";
import { LoadExchange } from "./load.ts";
import { Locator } from "./locate.ts";
import type { WebOptions } from "./options.ts";
import { Representations, chosen, type Page } from "./representation.ts";
import { decodePath, pathCharsMax, queryOf, rawPathOf } from "./request-path.ts";
import { Outdated, type ServedFile } from "./served.ts";
import type { Neighbours, Source } from "./source.ts";
import type { Uploads } from "./dav/uploads.ts";
import { readingMethods, reasonOf } from "./reasons.ts";

/** Memory for pages by the URLs that clients write, and what a page costs beside its URL. */
const pagesBytes = 16 * MiB;
const pageOverheadBytes = 2 * KiB;
/** A file that changes faster than it is read is given up. */
const looksMax = 5;

export class Site implements Vos {
  readonly #host: VosHost;
  readonly #options: WebOptions;
  readonly #source: Source;
  readonly #uploads: Uploads | null;
  readonly #locator: Locator;
  readonly #representations: Representations;
  readonly #contents: Contents;
  readonly #files: FileResponder;
  /** By the whole URL, so that the short way takes none apart. Of a volume: as it was when it was last asked for. */
  readonly #pages = new ClockCache<Page>(pagesBytes);
  readonly #lines = new AccessLine();
  readonly #load: LoadExchange | null;

  constructor(host: VosHost, source: Source, options: WebOptions, uploads: Uploads | null = null) {
    this.#host = host;
    this.#options = options;
    this.#source = source;
    this.#uploads = uploads;
    this.#locator = new Locator(options);
    this.#representations = new Representations(options, host.node.name);
    this.#contents = new Contents(options);
    this.#files = new FileResponder(this.#contents);
    this.#load = host.kernel && new LoadExchange(host.kernel, host.node.name);
  }

  readonly fetch = (request: Request, info: RequestInfo): Response | Promise<Response> => {
    const { url } = request;
    const mayBeKept = this.#source.immutable && request.method === "GET";
    const page = mayBeKept ? this.#pages.get(url) : undefined;
    if (page !== undefined) {
      const { headers } = request;
      const { file, headers: ours, logLine } = chosen(page, headers);
      const body = isConditional(headers) ? undefined : this.#contents.peek(file);
      if (body !== undefined) {
        this.#log(headers, info, logLine);
        return new Response(body.whole, { headers: ours });
      }
    }
    return this.#logged(request, info);
  };

  load(): string {
    return this.#load?.text() ?? "";
  }

  async close(): Promise<void> {
    this.#load?.close();
    await this.#uploads?.close();
  }

  async #logged(request: Request, info: RequestInfo): Promise<Response> {
    if (this.#load) this.#load.underWay++;
    try {
      return await this.#answered(request, info);
    } finally {
      if (this.#load) this.#load.underWay--;
    }
  }

  async #answered(request: Request, info: RequestInfo): Promise<Response> {
    const { url, method, headers } = request;
    const raw = rawPathOf(url);
    let answer: Answer;
    try {
      answer = await this.#answer(request, raw);
    } catch (e) {
      const error = DvsError.from(e);
      this.#host.log("error", "request failed", { path: raw.slice(0, 500), error: error.message });
      answer = this.#text(null, canBeTriedAgain.has(error.code) ? 503 : 500, method);
    }
    const bytes = method === "HEAD" ? 0 : answer.bytes;
    this.#log(headers, info, requestPart(method, raw + queryOf(url), answer.response.status, bytes));
    return answer.response;
  }

  async #answer(request: Request, raw: string): Promise<Answer> {
    const { method } = request;
    const path = decodePath(raw);
    if (path === undefined) return this.#text(null, raw.length > pathCharsMax ? 414 : 400, method);
    if (isEcho(path, this.#options.echo)) {
      const response = await echo(request, this.#host.node.name, this.#representations.bare(path, {}));
      return { response, bytes: Number(request.headers.get("content-length") ?? 0) };
    }
    const redirect = this.#locator.redirect(path);
    if (redirect?.type === "redirect") return this.#redirect(path, redirect, request);
    const uploads = this.#uploads?.takes(path) ? this.#uploads : null;
    if (method === "OPTIONS") {
      const own = uploads ? uploads.options : { allow: readingMethods };
      return {
        response: new Response(null, { status: 204, headers: this.#representations.bare(path, own) }),
        bytes: 0,
      };
    }
    if (method === "GET" || method === "HEAD") return this.#get(path, request);
    if (!uploads) return this.#text(path, 405, method, { allow: readingMethods });
    const { status, headers = {}, body } = await uploads.answer(path, request);
    if (body === undefined && status >= 300) return this.#text(path, status, method, headers);
    const own = { "cache-control": "no-store", ...headers };
    const response = new Response(body ?? null, { status, headers: this.#representations.bare(path, own) });
    return { response, bytes: typeof body === "string" ? Buffer.byteLength(body) : 0 };
  }

  async #get(path: string, request: Request): Promise<Answer> {
    for (let looks = 1; ; looks++) {
      try {
        return await this.#found(path, request);
      } catch (e) {
        if (!(e instanceof Outdated) || looks === looksMax) throw e;
      }
    }
  }

  async #found(path: string, request: Request): Promise<Answer> {
    const target = await this.#source.look(this.#locator.locate(path));
    if (target.type === "redirect") return this.#redirect(path, target, request);
    if (target.type === "file") {
      const page = await this.#page(path, target.file, request.url);
      return this.#files.answer(chosen(page, request.headers), request);
    }
    const { notFoundPage } = this.#options;
    const notFound = await this.#source.find(notFoundPage);
    if (notFound === null || notFound === "directory") return this.#text(path, 404, request.method);
    const page = await this.#page(notFoundPage, notFound, notFoundPage);
    return this.#files.error(chosen(page, request.headers), 404, request);
  }

  /** Made once for each URL, as long as the file is the same. */
  async #page(path: string, file: ServedFile, url: string): Promise<Page> {
    const neighbours = await this.#source.neighbours(file);
    const known = this.#source.immutable ? undefined : this.#pages.get(url);
    if (known && isOf(known, file, neighbours)) return known;
    const page = this.#representations.page(path, file, neighbours, rawPathOf(url) + queryOf(url));
    this.#pages.set(url, page, url.length * 2 + pageOverheadBytes);
    return page;
  }

  #redirect(
    path: string,
    { location, status, query }: { location: string; status: number; query: boolean },
    request: Request,
  ): Answer {
    const to = query ? location + queryOf(request.url) : location;
    return this.#text(path, status, request.method, { location: to });
  }

  /** A page of one line, for people. */
  #text(path: string | null, status: number, method: string, own: Record<string, string> = {}): Answer {
    const body = `${status} ${reasonOf(status)}\n`;
    const headers = this.#representations.bare(path, {
      "content-type": "text/plain; charset=utf-8",
      ...(status >= 400 ? { "cache-control": "no-store" } : {}),
      ...own,
    });
    const response = new Response(method === "HEAD" ? null : body, { status, headers });
    return { response, bytes: body.length };
  }

  #log(headers: Headers, info: RequestInfo, middle: string): void {
    if (!this.#options.accessLog) return;
    const client = clientOf(headers.get("x-forwarded-for"), info);
    this.#host.accessLog(this.#lines.format(client, middle, headers, Date.now()));
  }
}

/** Whether a page that was made before is what would be made now. */
function isOf({ plain, coded }: Page, file: ServedFile, neighbours: Neighbours): boolean {
  if (plain.file.tag !== file.tag || (coded?.size ?? 0) !== neighbours.size) return false;
  for (const [coding, { tag }] of neighbours) if (coded?.get(coding)?.file.tag !== tag) return false;
  return true;
}

/** Nothing is wrong with the request. */
const canBeTriedAgain: ReadonlySet<string> = new Set(["UNAVAILABLE", "OUTCOME_UNKNOWN", "TIMEOUT"]);
