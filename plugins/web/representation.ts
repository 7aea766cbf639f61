/** A file as it is sent: its headers, made once, and the precompressed forms beside it. */
import type { ImageEntry, ImageReader } from "../../core/vos.ts";
import { requestPart } from "./access-line.ts";
import type { Validators } from "./conditions.ts";
import { contentType } from "./content-types.ts";
import { codings, negotiate, type Coding } from "./encodings.ts";
import { compileGlob, type Glob } from "./glob.ts";
import type { WebOptions } from "./options.ts";

export interface Representation extends Validators {
  entry: ImageEntry;
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

/** Hex digits of the SHA-256 in an entity tag: 128 bits, no two files of this world share them. */
const etagDigits = 32;

export class Representations {
  readonly #image: ImageReader;
  readonly #options: WebOptions;
  readonly #rules: { path: Glob; set: [string, string | null][] }[];
  /** On every response, whatever it is. */
  readonly #common: [string, string][];
  readonly #modifiedMs: number | null;

  constructor(image: ImageReader, options: WebOptions, node: string) {
    this.#image = image;
    this.#options = options;
    this.#rules = options.headers.map(({ path, set }) => ({
      path: compileGlob(path),
      set: Object.entries(set),
    }));
    this.#common = commonHeaders(options, node);
    const { modifiedAt } = options;
    this.#modifiedMs = modifiedAt === null ? null : Math.floor(Date.parse(modifiedAt) / 1000) * 1000;
  }

  /** The page of a file, for requests to `path`, written `target` by the client. */
  page(path: string, entry: ImageEntry, target: string): Page {
    const type = contentType(entry.path, this.#options.contentTypes, this.#options.charset);
    const coded = new Map<Coding, Representation>();
    for (const { coding, suffix } of this.#options.precompressed ? codings : []) {
      const neighbour = this.#image.resolve(entry.path + suffix);
      if (neighbour?.type === "file") {
        coded.set(coding, this.#representation(path, neighbour, type, { coding, vary: true, target }));
      }
    }
    const vary = coded.size > 0;
    return {
      plain: this.#representation(path, entry, type, { coding: null, vary, target }),
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
    entry: ImageEntry,
    type: string,
    { coding, vary, target }: { coding: Coding | null; vary: boolean; target: string },
  ): Representation {
    const etag = `"${entry.digest.slice(entry.digest.indexOf(":") + 1).slice(0, etagDigits)}"`;
    const headers = new Headers(this.#common);
    headers.set("content-type", type);
    headers.set("etag", etag);
    headers.set("accept-ranges", "bytes");
    if (coding !== null) headers.set("content-encoding", coding);
    if (vary) headers.set("vary", "Accept-Encoding");
    if (this.#options.cacheControl !== null) headers.set("cache-control", this.#options.cacheControl);
    if (this.#modifiedMs !== null) headers.set("last-modified", new Date(this.#modifiedMs).toUTCString());
    this.#applyRules(path, headers);
    // Conditions are judged by what clients were told.
    return {
      entry,
      headers,
      logLine: requestPart("GET", target, 200, entry.size),
      etag: headers.get("etag") ?? etag,
      modifiedMs: this.#modifiedMs,
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
