/** What a web instance can be told. Paths are those of requests, decoded; patterns are described in glob.ts. */
import { z } from "zod";
import { compileGlob } from "./glob.ts";

const FilePath = z
  .string()
  .regex(/^\/[^\0]*$/, "must be an absolute path in the image, as `/index.html`")
  .max(4_096);

const Pattern = z.string().superRefine((pattern, context) => {
  try {
    compileGlob(pattern);
  } catch (e) {
    context.addIssue({ code: "custom", message: (e as Error).message });
  }
});

const HeaderName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, "must be a header name");
const HeaderValue = z
  .string()
  .regex(/^[\t\x20-\x7e\x80-\xff]*$/, "must have no line break or control character");
/** Headers that say how long the body is or how the connection ends belong to dvs. */
const managed = new Set([
  "connection",
  "content-encoding",
  "content-length",
  "content-range",
  "date",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
]);

const HeaderRule = z.strictObject({
  path: Pattern.describe("Which requests: a pattern over the path, as `/assets/**`."),
  set: z
    .record(
      HeaderName.refine((name) => !managed.has(name.toLowerCase()), "is set by dvs itself"),
      HeaderValue.nullable(),
    )
    .describe("Headers to set; null removes one that dvs would set."),
});

const Redirect = z.strictObject({
  from: Pattern.describe("Which requests: a pattern over the path."),
  to: z
    .string()
    .regex(/^(\/(?!\/)|https?:\/\/)/, "must be a path or begin with http:// or https://")
    .describe("Where to: a path or a whole URL; `$1` and `$2` stand for what the wildcards matched."),
  status: z
    .union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)])
    .default(308)
    .describe("301 or 308 for ever, 302, 303 or 307 for now; 307 and 308 keep the method."),
});

const Rewrite = z.strictObject({
  from: Pattern.describe("Which requests: a pattern over the path."),
  to: FilePath.describe("The path that is looked up instead; `$1` and `$2` as in redirects."),
});

const Uploads = z.strictObject({
  paths: z
    .array(Pattern)
    .min(1)
    .max(100)
    .describe(
      "Where files may be written: patterns over the path. Collections are removed, moved and copied only below patterns that end with `**`.",
    ),
  tokens: z
    .array(
      z
        .string()
        .regex(/^[0-9a-f]{64}$/, "must be a SHA-256 in hex, as `printf %s TOKEN | sha256sum` prints it"),
    )
    .min(1)
    .max(100)
    .nullable()
    .describe(
      "SHA-256 of each token with which one may write, as a Bearer token or as the password of Basic; take random ones, as of `openssl rand -hex 32`. Null: whoever reaches the port.",
    ),
  fileBytesMax: z
    .int()
    .min(0)
    .max(1024 ** 4)
    .default(1024 ** 3)
    .describe("Bytes of one file."),
});

export const WebOptions = z
  .strictObject({
    files: z
      .enum(["image", "volume"])
      .default("image")
      .describe(
        "Out of what the site is served. `image`: as it was built. `volume`: the instance's own files, the same on every node, which begin with those of the image and can be changed.",
      ),
    uploads: Uploads.nullable()
      .default(null)
      .describe("Writing over HTTP, by PUT, DELETE and WebDAV class 1, with `files: volume`. Null: none."),
    index: z
      .array(z.string().regex(/^[^/\0]+$/, "must be a file name"))
      .max(8)
      .default(["index.html"])
      .describe(
        "Files that answer for their directory; the first that exists. Directories are never listed.",
      ),
    cleanUrls: z
      .boolean()
      .default(false)
      .describe("Whether `/about` is answered with /about.html, and `/about.html` redirected to `/about`."),
    spaFallback: FilePath.nullable()
      .default(null)
      .describe(
        "File that answers, with 200, paths that name no file and have no extension, as single-page apps need.",
      ),
    notFoundPage: FilePath.default("/404.html").describe("Page sent with 404, if the image has it."),
    redirects: z.array(Redirect).max(1_000).default([]).describe("Tried in order, before any file."),
    rewrites: z
      .array(Rewrite)
      .max(1_000)
      .default([])
      .describe("The first that fits changes the path looked up, once."),
    headers: z.array(HeaderRule).max(1_000).default([]).describe("All that fit apply, later ones win."),
    cacheControl: HeaderValue.nullable()
      .default("no-cache")
      .describe("Cache-Control of files; `no-cache` means: keep it, but ask before each use. Null: none."),
    securityHeaders: z
      .boolean()
      .default(true)
      .describe("X-Content-Type-Options, X-Frame-Options and Referrer-Policy with strict values."),
    nodeHeader: z.boolean().default(false).describe("Whether each response names its node in X-Dvs-Node."),
    precompressed: z
      .boolean()
      .default(true)
      .describe("Whether a file's neighbours with .br, .zst or .gz are sent to clients that accept them."),
    dotFiles: z
      .boolean()
      .default(false)
      .describe("Whether names that begin with a dot are served. /.well-known always is."),
    contentTypes: z
      .record(
        z.string().regex(/^[a-z0-9]+$/, "must be an extension without its dot, in lower case"),
        HeaderValue,
      )
      .default({})
      .describe("Content types by extension, over the built-in ones."),
    charset: z
      .string()
      .regex(/^[a-z0-9-]*$/i)
      .default("utf-8")
      .describe("Charset named for text; empty: none."),
    modifiedAt: z.iso
      .datetime()
      .nullable()
      .default(null)
      .describe(
        "When the site was last changed: Last-Modified of all files. An image keeps no times of its own.",
      ),
    echo: z
      .string()
      .regex(/^\/[^\0]*[^/\0]$/, "must be an absolute path without `/` at its end")
      .nullable()
      .default(null)
      .describe("Diagnostic path, with all below it, that answers any method with the request's own body."),
    accessLog: z
      .boolean()
      .default(true)
      .describe("Whether each request is a line of access.log, in combined format."),
    cacheBytes: z
      .int()
      .min(0)
      .max(16 * 1024 ** 3)
      .default(64 * 1024 ** 2)
      .describe("Memory for the contents of files, in bytes."),
    cacheFileBytesMax: z
      .int()
      .min(0)
      .max(256 * 1024 ** 2)
      .default(1024 ** 2)
      .describe(
        "Files up to this many bytes are kept in memory; larger ones are streamed from the disk each time.",
      ),
  })
  .superRefine(({ files, uploads }, context) => {
    if (uploads === null || files === "volume") return;
    context.addIssue({
      code: "custom",
      path: ["uploads"],
      message: "needs `files: volume`: an image never changes",
    });
  });
export type WebOptions = z.output<typeof WebOptions>;
