/** Every sentence of the web VOS about HTTP, asked of a real container: on its Unix socket and through mutual TLS. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createTrust } from "../../core/container/certificates.ts";
import { TestContainer } from "../../core/container/harness.ts";
import { ask, type Answer, type Ask, type Where } from "../../core/container/raw-http.ts";

const digits = "0123456789";
const long = digits.repeat(20);
const big = new Uint8Array(2_500_000).map((_, i) => (i * 7) % 251);
const site = {
  "/index.html": "<h1>home</h1>",
  "/404.html": "<h1>lost</h1>",
  "/about.html": "<h1>about</h1>",
  "/docs/index.html": "<h1>docs</h1>",
  "/docs/two words.html": "two words",
  "/docs/ü.html": "umlaut",
  "/empty.txt": "",
  "/digits.txt": digits,
  "/long.txt": long,
  "/big.bin": big,
  "/untyped.bin": big,
  "/app.js": "let plain = 1;",
  "/app.js.br": "br",
  "/app.js.zst": "zstd",
  "/app.js.gz": "gzip",
  "/style.css": "body{}",
  "/style.css.gz": "gz",
  "/assets/app.1f0c.js": "hashed",
  "/data.json": "{}",
  "/pic.svg": "<svg/>",
  "/strange.xyz": "?",
  "/Makefile": "all:",
  "/UPPER.PNG": "png",
  "/page.custom": "own type",
  "/.env": "SECRET=1",
  "/.git/config": "[core]",
  "/.well-known/security.txt": "Contact: x",
  "/dir/.hidden": "h",
  "/dir/file.txt": "f",
  "/empty-dir/sub/x.txt": "x",
  "/link.txt": { link: "digits.txt" },
  "/linked": { link: "docs" },
  "/loop": { link: "loop" },
  "/dangling": { link: "nowhere" },
};
const options = {
  nodeHeader: true,
  echo: "/echo",
  modifiedAt: "2026-01-02T03:04:05Z",
  contentTypes: { custom: "application/x-own" },
  redirects: [
    { from: "/old", to: "/new" },
    { from: "/moved/**", to: "/docs/$1", status: 302 },
    { from: "/out/*", to: "https://other.test/$1?x=1", status: 307 },
    { from: "/any/**", to: "/$1", status: 301 },
  ],
  rewrites: [{ from: "/rewritten/*", to: "/docs/$1.html" }],
  headers: [
    {
      path: "/assets/**",
      set: { "cache-control": "public, max-age=31536000, immutable", "x-rule": "first" },
    },
    { path: "/**/*.js", set: { "x-rule": "second" } },
    { path: "/digits.txt", set: { "x-frame-options": null } },
    { path: "/untyped.bin", set: { "content-type": null } },
  ],
};
const modified = "Fri, 02 Jan 2026 03:04:05 GMT";

let container: TestContainer;
const wheres: Record<string, Where> = {};
beforeAll(async () => {
  const trust = await createTrust();
  container = await new TestContainer({ tls: await trust.container() }).useSite(site, options);
  const { port } = await container.start();
  wheres["http.sock"] = container.httpSocket;
  wheres["TLS"] = { port, tls: await trust.ingress() };
});
afterAll(() => container.dispose());

interface Expected {
  status: number;
  body?: string | Uint8Array;
  headers?: Record<string, string | null>;
}
type Case = [name: string, ask: Ask, expected: Expected];

const etagOf = async (path: string, where: Where): Promise<string> =>
  (await ask(where, { method: "HEAD", path })).headers["etag"] ?? "";

const cases: Record<string, Case[]> = {
  files: [
    [
      "a file with its type",
      { path: "/digits.txt" },
      {
        status: 200,
        body: digits,
        headers: {
          "content-type": "text/plain; charset=utf-8",
          "content-length": "10",
          "accept-ranges": "bytes",
          "cache-control": "no-cache",
          "last-modified": modified,
          "x-content-type-options": "nosniff",
          "x-dvs-node": "node-1",
        },
      },
    ],
    ["the index of the root", { path: "/" }, { status: 200, body: "<h1>home</h1>" }],
    ["the index of a directory", { path: "/docs/" }, { status: 200, body: "<h1>docs</h1>" }],
    ["a directory without slash", { path: "/docs" }, { status: 301, headers: { location: "/docs/" } }],
    ["… keeping the query", { path: "/docs?a=1&b" }, { status: 301, headers: { location: "/docs/?a=1&b" } }],
    ["a directory without index", { path: "/dir/" }, { status: 404 }],
    ["… nor is it told that it exists", { path: "/dir" }, { status: 404 }],
    ["a file with a slash behind", { path: "/digits.txt/" }, { status: 404 }],
    ["a query is no part of the path", { path: "/digits.txt?v=2" }, { status: 200, body: digits }],
    ["an encoded space", { path: "/docs/two%20words.html" }, { status: 200, body: "two words" }],
    ["an encoded umlaut", { path: "/docs/%C3%BC.html" }, { status: 200, body: "umlaut" }],
    ["an encoded letter", { path: "/d%69gits.txt" }, { status: 200, body: digits }],
    ["an empty file", { path: "/empty.txt" }, { status: 200, body: "", headers: { "content-length": "0" } }],
    ["JSON", { path: "/data.json" }, { status: 200, headers: { "content-type": "application/json" } }],
    ["SVG", { path: "/pic.svg" }, { status: 200, headers: { "content-type": "image/svg+xml" } }],
    [
      "an extension in capitals",
      { path: "/UPPER.PNG" },
      { status: 200, headers: { "content-type": "image/png" } },
    ],
    [
      "an unknown extension",
      { path: "/strange.xyz" },
      { status: 200, headers: { "content-type": "application/octet-stream" } },
    ],
    [
      "no extension",
      { path: "/Makefile" },
      { status: 200, headers: { "content-type": "application/octet-stream" } },
    ],
    [
      "a type of one's own",
      { path: "/page.custom" },
      { status: 200, headers: { "content-type": "application/x-own" } },
    ],
    ["a symbolic link", { path: "/link.txt" }, { status: 200, body: digits }],
    ["a link to a directory", { path: "/linked/" }, { status: 200, body: "<h1>docs</h1>" }],
    ["a link in circles", { path: "/loop" }, { status: 404 }],
    ["a link that dangles", { path: "/dangling" }, { status: 404 }],
    [
      "the page of one's own for 404",
      { path: "/nowhere" },
      {
        status: 404,
        body: "<h1>lost</h1>",
        headers: { "content-type": "text/html; charset=utf-8", etag: null, "cache-control": "no-store" },
      },
    ],
    ["… without its body for HEAD", { path: "/nowhere", method: "HEAD" }, { status: 404, body: "" }],
    ["… whatever conditions say", { path: "/nowhere", headers: { "if-none-match": "*" } }, { status: 404 }],
  ],
  hidden: [
    ["a dot file", { path: "/.env" }, { status: 404 }],
    ["a dot directory", { path: "/.git/config" }, { status: 404 }],
    ["a dot file below", { path: "/dir/.hidden" }, { status: 404 }],
    ["an encoded dot", { path: "/%2eenv" }, { status: 404 }],
    ["/.well-known is served", { path: "/.well-known/security.txt" }, { status: 200, body: "Contact: x" }],
  ],
  methods: [
    [
      "HEAD",
      { method: "HEAD", path: "/digits.txt" },
      {
        status: 200,
        body: "",
        headers: { "content-length": "10", "content-type": "text/plain; charset=utf-8" },
      },
    ],
    [
      "HEAD of a large file",
      { method: "HEAD", path: "/big.bin" },
      { status: 200, headers: { "content-length": "2500000" } },
    ],
    [
      "OPTIONS",
      { method: "OPTIONS", path: "/digits.txt" },
      { status: 204, headers: { allow: "GET, HEAD, OPTIONS" } },
    ],
    ...["POST", "PUT", "DELETE", "PATCH", "PURGE"].map((method): Case => [
      method,
      { method, path: "/digits.txt", body: "x" },
      { status: 405, headers: { allow: "GET, HEAD, OPTIONS" } },
    ]),
  ],
  ranges: [
    ...(
      [
        ["first bytes", "bytes=0-3", "0123", "bytes 0-3/10"],
        ["one byte", "bytes=0-0", "0", "bytes 0-0/10"],
        ["from a byte on", "bytes=7-", "789", "bytes 7-9/10"],
        ["the last bytes", "bytes=-2", "89", "bytes 8-9/10"],
        ["more than there is", "bytes=5-100", "56789", "bytes 5-9/10"],
        ["a suffix longer than the file", "bytes=-100", digits, "bytes 0-9/10"],
        ["the unit in capitals", "BYTES=0-1", "01", "bytes 0-1/10"],
        ["one that fits of two", "bytes=50-60,2-3", "23", "bytes 2-3/10"],
      ] as const
    ).map(([name, range, body, contentRange]): Case => [
      name,
      { path: "/digits.txt", headers: { range } },
      {
        status: 206,
        body,
        headers: { "content-range": contentRange, "content-length": String(body.length) },
      },
    ]),
    ...["bytes=10-", "bytes=-0", "bytes=99-100", "bytes=10-11,12-13"].map((range): Case => [
      `outside: ${range}`,
      { path: "/digits.txt", headers: { range } },
      { status: 416, headers: { "content-range": "bytes */10" } },
    ]),
    ["any of an empty file", { path: "/empty.txt", headers: { range: "bytes=0-" } }, { status: 416 }],
    ...["bytes", "bytes=", "bytes=a-b", "bytes=3-2", "bytes=--1", "lines=1-2", "bytes=1", "bytes=0-4,x"].map(
      (range): Case => [
        `not understood: ${range}`,
        { path: "/digits.txt", headers: { range } },
        { status: 200, body: digits, headers: { "content-range": null } },
      ],
    ),
    [
      "overlapping ones that exceed the file are an attack: all of it",
      { path: "/digits.txt", headers: { range: "bytes=0-9,0-9,0-9" } },
      { status: 200, body: digits },
    ],
    [
      "very many are an attack: all of it",
      {
        path: "/long.txt",
        headers: { range: `bytes=${Array.from({ length: 40 }, (_, i) => `${i}-${i}`).join()}` },
      },
      { status: 200, body: long },
    ],
    [
      "HEAD has no ranges",
      { method: "HEAD", path: "/digits.txt", headers: { range: "bytes=0-3" } },
      { status: 200, headers: { "content-length": "10" } },
    ],
    [
      "of a large file",
      { path: "/big.bin", headers: { range: "bytes=2000000-2000004" } },
      {
        status: 206,
        body: big.subarray(2_000_000, 2_000_005),
        headers: {
          "content-length": "5",
          "content-range": "bytes 2000000-2000004/2500000",
          "accept-ranges": "bytes",
          "content-type": "application/octet-stream",
        },
      },
    ],
    ...(
      [
        ["an If-Range of another version", { range: "bytes=2-4", "if-range": '"other"' }],
        ["an If-Range of another date", { range: "bytes=2-4", "if-range": "Fri, 02 Jan 2026 03:04:04 GMT" }],
        ["a range that is none", { range: "bytes=5-2" }],
        ["more ranges than the file has bytes", { range: "bytes=0-,0-" }],
      ] as const
    ).map(([name, headers]): Case => [
      `of a large file, with ${name}: all of it`,
      { path: "/big.bin", headers },
      { status: 200, body: big, headers: { "content-range": null } },
    ]),
    [
      "of a large file without a type",
      { path: "/untyped.bin" },
      { status: 200, body: big, headers: { "content-type": null, "content-disposition": null } },
    ],
    [
      "of a large file, outside",
      { path: "/big.bin", headers: { range: "bytes=2500000-" } },
      { status: 416, body: "", headers: { "content-range": "bytes */2500000" } },
    ],
    [
      "of a large file, with an If-Range of this version",
      { path: "/big.bin", headers: { range: "bytes=-3", "if-range": modified } },
      { status: 206, body: big.subarray(-3) },
    ],
  ],
  precompressed: [
    ...(
      [
        ["br before all", "gzip, deflate, br, zstd", "br", "br"],
        ["zstd before gzip", "gzip, zstd", "zstd", "zstd"],
        ["gzip alone", "gzip", "gzip", "gzip"],
        ["x-gzip is gzip", "x-gzip", "gzip", "gzip"],
        ["as the q-values say", "br;q=0.5, gzip;q=0.9", "gzip", "gzip"],
        ["a star takes the best", "*", "br", "br"],
        ["a star without one", "*, br;q=0", "zstd", "zstd"],
        ["in capitals", "GZIP", "gzip", "gzip"],
        ["spaces around", " gzip ; q=1 ", "gzip", "gzip"],
        ["none is acceptable", "deflate", null, "let plain = 1;"],
        ["all refused", "br;q=0, gzip;q=0.0, zstd;q=0.000", null, "let plain = 1;"],
        ["identity is liked more", "identity, br;q=0.5", null, "let plain = 1;"],
        ["nonsense", ";;,q=1,br;q=x", null, "let plain = 1;"],
        ["empty", "", null, "let plain = 1;"],
      ] as const
    ).map(([name, accept, coding, body]): Case => [
      name,
      { path: "/app.js", headers: { "accept-encoding": accept } },
      {
        status: 200,
        body,
        headers: {
          "content-encoding": coding,
          vary: "Accept-Encoding",
          "content-type": "text/javascript; charset=utf-8",
        },
      },
    ]),
    [
      "a file without neighbours varies not",
      { path: "/digits.txt", headers: { "accept-encoding": "br" } },
      { status: 200, headers: { vary: null, "content-encoding": null } },
    ],
    [
      "ranges are of the encoded form",
      { path: "/app.js", headers: { "accept-encoding": "zstd", range: "bytes=1-2" } },
      { status: 206, body: "st", headers: { "content-encoding": "zstd", "content-range": "bytes 1-2/4" } },
    ],
  ],
  rules: [
    ["a redirect", { path: "/old" }, { status: 308, headers: { location: "/new" } }],
    ["… keeps the query", { path: "/old?a=b" }, { status: 308, headers: { location: "/new?a=b" } }],
    ["… for any method", { method: "POST", path: "/old", body: "x" }, { status: 308 }],
    [
      "a redirect with what the wildcard matched",
      { path: "/moved/a/b" },
      { status: 302, headers: { location: "/docs/a/b" } },
    ],
    [
      "… encoded again",
      { path: "/moved/a%20b%3Fc" },
      { status: 302, headers: { location: "/docs/a%20b%3Fc" } },
    ],
    [
      "a redirect to another host",
      { path: "/out/x" },
      { status: 307, headers: { location: "https://other.test/x?x=1" } },
    ],
    [
      "never to a host that the client names",
      { path: "/any//evil.test" },
      { status: 301, headers: { location: "/evil.test" } },
    ],
    ["a line break stays encoded", { path: "/moved/a%0d%0ab" }, { status: 400 }],
    ["a rewrite", { path: "/rewritten/index" }, { status: 200, body: "<h1>docs</h1>" }],
    [
      "later header rules win",
      { path: "/assets/app.1f0c.js" },
      {
        status: 200,
        headers: { "cache-control": "public, max-age=31536000, immutable", "x-rule": "second" },
      },
    ],
    ["a header removed", { path: "/digits.txt" }, { status: 200, headers: { "x-frame-options": null } }],
  ],
  echo: [
    ...["PUT", "POST", "PATCH", "DELETE", "OPTIONS", "PROPFIND"].map((method): Case => [
      `${method} gives the body back`,
      { method, path: "/echo/a/b?c", body: "body\0of bytes" },
      {
        status: 200,
        body: "body\0of bytes",
        headers: {
          "x-dvs-node": "node-1",
          "x-dvs-method": method,
          "content-type": "application/octet-stream",
          "cache-control": "no-store",
        },
      },
    ]),
    ["GET has none", { path: "/echo" }, { status: 200, body: "" }],
    [
      "a long body",
      { method: "PUT", path: "/echo", body: long.repeat(2_000) },
      { status: 200, body: long.repeat(2_000) },
    ],
    [
      "a body in chunks",
      {
        method: "PUT",
        path: "/echo",
        headers: { "transfer-encoding": "chunked", "content-length": "0" },
        body: "",
      },
      { status: 400 },
    ],
    ["its neighbour is no echo", { path: "/echoes" }, { status: 404 }],
  ],
  "paths that could mean two things": [
    ...[
      "/%2e%2e%2fetc/passwd",
      "/..%2fetc/passwd",
      "/docs%2findex.html",
      "/docs%2Findex.html",
      "/..%5cwindows",
      "/docs%5Cindex.html",
      "/digits.txt%00",
      "/%00",
      "/digits.txt%0a",
      "/%7f",
      "/%",
      "/%zz",
      "/%2",
      "/%c0%ae%c0%ae/etc",
      "/%c0%af",
      "/%e0%80%af",
      "/%f0%80%80%af",
      "/%ed%a0%80",
      "/%ff",
      "/%fe%80",
      "/%80",
      "/%u002e",
      "/a%c3",
    ].map((path): Case => [path, { path }, { status: 400 }]),
    ["a path too long", { path: `/${"a".repeat(5_000)}` }, { status: 414 }],
    ["decoded once only", { path: "/%252e%252e/etc" }, { status: 404 }],
    ["… not twice", { path: "/d%2569gits.txt" }, { status: 404 }],
    ["two slashes are not one", { path: "//digits.txt" }, { status: 404 }],
    ["… nor a host", { path: "//docs" }, { status: 404 }],
    ["a semicolon is a letter", { path: "/digits.txt;a=b" }, { status: 404 }],
    ["a full-width dot is a letter", { path: "/%EF%BC%8E%EF%BC%8E/digits.txt" }, { status: 404 }],
  ],
};

interface ConditionCase {
  name: string;
  /** `ETAG` stands for the file's own. */
  headers: Record<string, string>;
  method?: string;
  status: number;
}
const before = "Thu, 01 Jan 2026 00:00:00 GMT";
const after = "Sat, 03 Jan 2026 00:00:00 GMT";
const conditions: ConditionCase[] = [
  { name: "If-None-Match with its tag", headers: { "if-none-match": "ETAG" }, status: 304 },
  { name: "… weakly", headers: { "if-none-match": "W/ETAG" }, status: 304 },
  { name: "… in a list", headers: { "if-none-match": '"a", W/"b",ETAG' }, status: 304 },
  { name: "… with a star", headers: { "if-none-match": "*" }, status: 304 },
  { name: "… of another", headers: { "if-none-match": '"a"' }, status: 200 },
  { name: "… without quotes is none", headers: { "if-none-match": "abc" }, status: 200 },
  { name: "… for HEAD", method: "HEAD", headers: { "if-none-match": "ETAG" }, status: 304 },
  { name: "If-Modified-Since at its date", headers: { "if-modified-since": modified }, status: 304 },
  { name: "… after it", headers: { "if-modified-since": after }, status: 304 },
  { name: "… before it", headers: { "if-modified-since": before }, status: 200 },
  {
    name: "… in RFC 850's form",
    headers: { "if-modified-since": "Friday, 02-Jan-26 03:04:05 GMT" },
    status: 304,
  },
  { name: "… in asctime's form", headers: { "if-modified-since": "Fri Jan  2 03:04:05 2026" }, status: 304 },
  { name: "… that is no date", headers: { "if-modified-since": "tomorrow" }, status: 200 },
  {
    name: "a tag goes before a date",
    headers: { "if-none-match": '"a"', "if-modified-since": after },
    status: 200,
  },
  { name: "If-Match with its tag", headers: { "if-match": "ETAG" }, status: 200 },
  { name: "… with a star", headers: { "if-match": "*" }, status: 200 },
  { name: "… of another", headers: { "if-match": '"a"' }, status: 412 },
  { name: "… weakly never", headers: { "if-match": "W/ETAG" }, status: 412 },
  { name: "If-Unmodified-Since after its date", headers: { "if-unmodified-since": after }, status: 200 },
  { name: "… before it", headers: { "if-unmodified-since": before }, status: 412 },
  {
    name: "If-Match goes before If-Unmodified-Since",
    headers: { "if-match": "ETAG", "if-unmodified-since": before },
    status: 200,
  },
  {
    name: "a failed If-Match goes before 304",
    headers: { "if-match": '"a"', "if-none-match": "*" },
    status: 412,
  },
  { name: "If-Range with its tag", headers: { range: "bytes=0-1", "if-range": "ETAG" }, status: 206 },
  { name: "… of another", headers: { range: "bytes=0-1", "if-range": '"a"' }, status: 200 },
  { name: "… weakly never", headers: { range: "bytes=0-1", "if-range": "W/ETAG" }, status: 200 },
  { name: "… with its date", headers: { range: "bytes=0-1", "if-range": modified }, status: 206 },
  {
    name: "… with a later date is not exact",
    headers: { range: "bytes=0-1", "if-range": after },
    status: 200,
  },
  { name: "304 goes before a range", headers: { range: "bytes=0-1", "if-none-match": "ETAG" }, status: 304 },
];

for (const where of ["http.sock", "TLS"]) {
  describe(`conditions through ${where}`, () => {
    for (const { name, headers, method = "GET", status } of conditions) {
      test(name, async () => {
        const path = "/digits.txt";
        const etag = await etagOf(path, wheres[where]!);
        const filled = Object.entries(headers).map(([key, value]) => [key, value.replace("ETAG", etag)]);
        const answer = await ask(wheres[where]!, {
          method,
          path,
          headers: Object.fromEntries(filled) as Record<string, string>,
        });
        expect(answer.status).toBe(status);
        expect(answer.headers["etag"]).toBe(etag);
        if (status !== 200 && status !== 206) expect(answer.body.length).toBe(0);
        if (status === 304) expect(answer.headers["cache-control"]).toBe("no-cache");
      });
    }
  });

  test(`several ranges come as parts, each with its place, through ${where}`, async () => {
    for (const [path, content] of [
      ["/digits.txt", Buffer.from(digits)],
      ["/big.bin", Buffer.from(big)],
    ] as const) {
      const answer = await ask(wheres[where]!, { path, headers: { range: "bytes=0-1,4-4,-2" } });
      expect(answer.status).toBe(206);
      const boundary = /^multipart\/byteranges; boundary=(\S+)$/.exec(
        answer.headers["content-type"] ?? "",
      )?.[1];
      const parts = answer.body.toString("latin1").split(`--${boundary}`);
      expect(parts.at(-1)).toBe("--\r\n");
      const size = content.length;
      const wanted = [
        [0, 2],
        [4, 5],
        [size - 2, size],
      ] as const;
      for (const [i, [start, end]] of wanted.entries()) {
        const [head = "", body = ""] = (parts[i + 1] ?? "").split("\r\n\r\n");
        expect(head).toContain(`content-range: bytes ${start}-${end - 1}/${size}`);
        expect(body.slice(0, -2)).toBe(content.subarray(start, end).toString("latin1"));
      }
    }
  });

  test(`a large file comes whole through ${where}`, async () => {
    const answer = await ask(wheres[where]!, { path: "/big.bin" });
    expect(answer.body.equals(big)).toBe(true);
    expect(answer.headers).toMatchObject({
      "content-length": "2500000",
      "content-type": "application/octet-stream",
      "last-modified": modified,
    });
    // Nothing of the blob's name.
    expect(answer.headers["content-disposition"] ?? "inline").toBe("inline");
  });

  test(`forms of a file have tags of their own through ${where}`, async () => {
    const tags = await Promise.all(
      ["br", "zstd", "gzip", ""].map(
        async (coding) =>
          (await ask(wheres[where]!, { path: "/app.js", headers: { "accept-encoding": coding } })).headers[
            "etag"
          ],
      ),
    );
    expect(new Set(tags).size).toBe(4);
  });

  test(`a body in chunks comes back through ${where}`, async () => {
    const answer = await ask(wheres[where]!, {
      method: "PUT",
      path: "/echo",
      headers: { "transfer-encoding": "chunked" },
      chunks: ["abc", "defg"],
    });
    expect(answer.body.toString()).toBe("abcdefg");
  });

  // Bun resolves these before anyone sees them, Deno too: what matters is that nothing outside the image answers.
  test(`dot segments lead nowhere outside through ${where}`, async () => {
    for (const path of [
      "/../../etc/passwd",
      "/%2e%2e/%2e%2e/etc/passwd",
      "/docs/../../etc/passwd",
      "/..\\etc\\passwd",
    ]) {
      expect([400, 404]).toContain((await ask(wheres[where]!, { path })).status);
    }
    expect((await ask(wheres[where]!, { path: "/docs/../.env" })).status).toBe(404);
  });
}

test("every request is a line of the access log, in combined format, with the client that the ingress named", async () => {
  const own = await new TestContainer().useSite({ "/index.html": "12345" });
  try {
    const { link, port } = await own.start();
    const headers = {
      "x-forwarded-for": "6.6.6.6, 203.0.113.7",
      referer: "http://a/",
      "user-agent": 'x "y" \\ z',
    };
    await own.ask({ path: "/?q=1", headers });
    await own.ask({ path: "/?q=1", headers: { "x-forwarded-for": "no address" } });
    await own.ask({ method: "HEAD", path: "/nowhere" });
    await ask({ port }, { method: "PUT", path: '/a"b', body: "x" });
    await own.ask({ path: "/.well-known/dvs/health" });
    link.send({ type: "stop", graceMs: 200 });
    await own.exited;
    const lines = own.file("access.log").trimEnd().split("\n");
    const time = String.raw`\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]`;
    const wanted = [
      `203.0.113.7 - - ${time} "GET /\\?q=1 HTTP/1.1" 200 5 "http://a/" "x \\\\x22y\\\\x22 \\\\x5C z"`,
      `- - - ${time} "GET /\\?q=1 HTTP/1.1" 200 5 "-" "-"`,
      `- - - ${time} "HEAD /nowhere HTTP/1.1" 404 0 "-" "-"`,
      `127.0.0.1 - - ${time} "PUT /a%22b HTTP/1.1" 405 \\d+ "-" "-"`,
    ];
    expect(lines.length).toBe(wanted.length);
    for (const [i, line] of lines.entries()) expect(line).toMatch(new RegExp(`^${wanted[i]}$`));
  } finally {
    await own.dispose();
  }
});

for (const where of ["http.sock", "TLS"]) {
  describe(`through ${where}`, () => {
    for (const [group, list] of Object.entries(cases)) {
      describe(group, () => {
        for (const [name, what, expected] of list) {
          test(name, async () => check(await ask(wheres[where]!, what), expected));
        }
      });
    }
  });
}

function check(answer: Answer, { status, body, headers = {} }: Expected): void {
  expect(answer.status).toBe(status);
  if (body !== undefined) expect(answer.body.toString("latin1")).toBe(Buffer.from(body).toString("latin1"));
  for (const [name, value] of Object.entries(headers)) {
    expect([name, answer.headers[name] ?? null]).toEqual([name, value]);
  }
}
