/** A file as it is sent: its headers, made once, and the precompressed forms beside it. */
import { requestPart } from "./access-line.ts";
import type { Validators } from "./conditions.ts";
import { contentType } from "./content-types.ts";
import { negotiate, type Coding } from "./encodings.ts";
import { compileGlob, type Glob } from "./glob.ts";
import type { WebOptions } from "./options.ts";
import type { ServedFile } from "./served.ts";
import type { Neighbours } from "./source.ts";

export interface Representation extends Validators {
  file: ServedFile;
  /** For 200; a 206, 304 or 404 takes what it needs of them. */
  headers: Headers;
  /** Its line of the access log when it is sent whole. */
  logLine: string;
}

/** What a path is answered with, chosen by Accept-Encoding. */
export interface Page {
  plain: Representation;
  coded: Map<Coding, Representation> | null;
}

export class Representations {
  readonly #options: WebOptions;
  readonly #rules: { path: Glob; set: [string, string | null][] }[];
  /** On every response, whatever it is. */
  readonly #common: [string, string][];

  constructor(options: WebOptions, node: string) {
    this.#options = options;
    this.#rules = options.headers.map(({ path, set }) => ({
      path: compileGlob(path),
      set: Object.entries(set),
    }));
    this.#common = commonHeaders(options, node);
  }

  /** The page of a file, for requests to `path`, written `target` by the client. */
  page(path: string, file: ServedFile, neighbours: Neighbours, target: string): Page {
    const type = contentType(file.path, this.#options.contentTypes, this.#options.charset);
    const coded = new Map<Coding, Representation>();
    for (const [coding, neighbour] of neighbours) {
      coded.set(coding, this.#representation(path, neighbour, type, { coding, vary: true, target }));
    }
    const vary = coded.size > 0;
    return {
      plain: this.#representation(path, file, type, { coding: null, vary, target }),
      coded: vary ? coded : null,
    };
  }

  /** Headers of a response that is no file, by the rules of its path. */
  bare(path: string | null, own: Record<string, string>): Headers {
    const headers = new Headers([...this.#common, ...Object.entries(own)]);
    if (path !== null) this.#applyRules(path, headers);
    return headers;
  }

  #representation(
    path: string,
    file: ServedFile,
    type: string,
    { coding, vary, target }: { coding: Coding | null; vary: boolean; target: string },
  ): Representation {
    const etag = `"${file.tag}"`;
    const { modifiedMs } = file;
    const headers = new Headers(this.#common);
    headers.set("content-type", type);
    headers.set("etag", etag);
    headers.set("accept-ranges", "bytes");
    if (coding !== null) headers.set("content-encoding", coding);
    if (vary) headers.set("vary", "Accept-Encoding");
    if (this.#options.cacheControl !== null) headers.set("cache-control", this.#options.cacheControl);
    if (modifiedMs !== null) headers.set("last-modified", new Date(modifiedMs).toUTCString());
    this.#applyRules(path, headers);
    // Conditions are judged by what clients were told.
    return {
      file,
      headers,
      logLine: requestPart("GET", target, 200, file.size),
      etag: headers.get("etag") ?? etag,
      modifiedMs,
    };
  }

  #applyRules(path: string, headers: Headers): void {
    for (const { path: glob, set } of this.#rules) {
      if (!glob(path)) continue;
      for (const [name, value] of set) {
        if (value === null) headers.delete(name);
        else headers.set(name, value);
      }
    }
  }
}

/** The representation of a page that the client prefers. */
export function chosen(page: Page, headers: Headers): Representation {
  if (page.coded === null) return page.plain;
  const coding = negotiate(headers.get("accept-encoding"), [...page.coded.keys()]);
  return (coding === null ? undefined : page.coded.get(coding)) ?? page.plain;
}

function commonHeaders(options: WebOptions, node: string): [string, string][] {
  const headers: [string, string][] = [];
  if (options.securityHeaders) {
    headers.push(
      ["x-content-type-options", "nosniff"],
      ["x-frame-options", "SAMEORIGIN"],
      ["referrer-policy", "strict-origin-when-cross-origin"],
    );
  }
  if (options.nodeHeader) headers.push(["x-dvs-node", node]);
  return headers;
}
