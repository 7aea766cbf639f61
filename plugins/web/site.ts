/**
 * The web VOS: answers requests with the files of its image. A request for a file in memory takes the short way in
 * `fetch`, without a promise, a URL object or a header made anew; everything else goes step by step in `#answer`.
 */
import { DvsError } from "../../core/errors.ts";
import { KiB, MiB } from "../../core/limits.ts";
import type { ImageReader, RequestInfo, Vos, VosHost } from "../../core/vos.ts";
import { AccessLine, clientOf, requestPart } from "./access-line.ts";
import { ClockCache } from "./clock-cache.ts";
import { isConditional } from "./conditions.ts";
import { Contents } from "./contents.ts";
import { echo, isEcho } from "./echo.ts";
import { FileResponder, type Answer } from "./file-response.ts";
import { LoadExchange } from "./load.ts";
import { fileAt, Locator } from "./locate.ts";
import type { WebOptions } from "./options.ts";
import { Representations, chosen, type Page } from "./representation.ts";
import { decodePath, pathCharsMax, queryOf, rawPathOf } from "./request-path.ts";

const allowedMethods = "GET, HEAD, OPTIONS";
/** Memory for pages by the URLs that clients write, and what a page costs beside its URL. */
const pagesBytes = 16 * MiB;
const pageOverheadBytes = 2 * KiB;

export class Site implements Vos {
  readonly #host: VosHost;
  readonly #options: WebOptions;
  readonly #locator: Locator;
  readonly #representations: Representations;
  readonly #contents: Contents;
  readonly #files: FileResponder;
  /** By the whole URL, so that the short way takes none apart. */
  readonly #pages = new ClockCache<Page>(pagesBytes);
  readonly #lines = new AccessLine();
  readonly #notFound: Page | null;
  readonly #load: LoadExchange | null;

  constructor(host: VosHost, image: ImageReader, options: WebOptions) {
    this.#host = host;
    this.#options = options;
    this.#locator = new Locator(image, options);
    this.#representations = new Representations(image, options, host.node.name);
    this.#contents = new Contents(image, options);
    this.#files = new FileResponder(image, this.#contents);
    const notFound = fileAt(image, options.notFoundPage);
    this.#load = host.kernel && new LoadExchange(host.kernel, host.node.name);
    this.#notFound = notFound && this.#representations.page(options.notFoundPage, notFound, "");
  }

  readonly fetch = (request: Request, info: RequestInfo): Response | Promise<Response> => {
    const { url } = request;
    const page = request.method === "GET" ? this.#pages.get(url) : undefined;
    if (page !== undefined) {
      const { headers } = request;
      const { entry, headers: ours, logLine } = chosen(page, headers);
      const body = isConditional(headers) ? undefined : this.#contents.peek(entry);
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

  close(): Promise<void> {
    this.#load?.close();
    return Promise.resolve();
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
      answer = this.#text(null, error.code === "UNAVAILABLE" ? 503 : 500, method);
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
    if (method === "OPTIONS") {
      return {
        response: new Response(null, {
          status: 204,
          headers: this.#representations.bare(path, { allow: allowedMethods }),
        }),
        bytes: 0,
      };
    }
    if (method !== "GET" && method !== "HEAD") {
      return this.#text(path, 405, method, { allow: allowedMethods });
    }
    return this.#get(path, request);
  }

  async #get(path: string, request: Request): Promise<Answer> {
    const target = this.#locator.locate(path);
    if (target.type === "redirect") return this.#redirect(path, target, request);
    if (target.type === "file") {
      const { url } = request;
      const page = this.#representations.page(path, target.entry, rawPathOf(url) + queryOf(url));
      this.#pages.set(url, page, url.length * 2 + pageOverheadBytes);
      return this.#files.answer(chosen(page, request.headers), request);
    }
    if (!this.#notFound) return this.#text(path, 404, request.method);
    return this.#files.error(chosen(this.#notFound, request.headers), 404, request);
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
    const body = `${status} ${reasons[status] ?? ""}\n`;
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

const reasons: Record<number, string> = {
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  414: "URI Too Long",
  500: "Internal Server Error",
  503: "Service Unavailable",
};
