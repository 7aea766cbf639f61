import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { decodePath, encodePath, isHidden, queryOf, rawPathOf } from "../../../plugins/web/request-path.ts";

describe("decodePath", () => {
  const refused = [
    ...["", "a", "../a", "http://x/"],
    ...["/..", "/../", "/./", "/.", "/a/..", "/a/../b", "/a/.", "/a/./b"],
    ...["/%2e", "/%2e%2e", "/%2E%2e/", "/.%2e/", "/%2e./a", "/a/%2e%2e/%2e%2e/b"],
    ...["/a%2fb", "/a%2Fb", "/%2f", "/%2f%2e%2e", "/a%5cb", "/a%5Cb", "/a\\b", "/..\\a"],
    ...["/%00", "/a%00.html", "/\0", "/%0a", "/%0d%0a", "/%1f", "/%7f", "/a\tb", "/a\nb"],
    ...["/%", "/%1", "/%g0", "/%0g", "/%%30", "/a%", "/%u0041", "/% 41"],
    // Overlong forms of `/` and `.`, surrogates, beyond Unicode, torn sequences: none is UTF-8.
    ...["/%c0%af", "/%c0%ae%c0%ae/", "/%c1%81", "/%e0%80%af", "/%e0%9f%bf", "/%f0%80%80%af", "/%f0%8f%bf%bf"],
    ...["/%ed%a0%80", "/%ed%bf%bf", "/%ed%a0%80%ed%b0%80", "/%f4%90%80%80", "/%f8%88%80%80%80"],
    ...["/%80", "/%bf", "/%c3", "/%e2%82", "/%f0%9f%98", "/%c3%28", "/%fe", "/%ff"],
    ...["/\ud800", "/\udc00x", "/%ef%bf%bd", "/\ufffd"],
    `/${"a".repeat(4_096)}`,
  ];
  for (const raw of refused) {
    test(`refuses ${JSON.stringify(raw.slice(0, 40))}`, () => expect(decodePath(raw)).toBeUndefined());
  }

  const taken: [string, string][] = [
    ["/", "/"],
    ["/a/b.html", "/a/b.html"],
    ["/a%20b", "/a b"],
    ["/%C3%BC", "/ü"],
    ["/%F0%9F%98%80", "/😀"],
    ["/ü", "/ü"],
    ["/%25", "/%"],
    ["/%252e%252e/", "/%2e%2e/"],
    ["/%2525", "/%25"],
    ["/a+b", "/a+b"],
    ["/...", "/..."],
    ["/..a/b..", "/..a/b.."],
    ["/%41", "/A"],
    ["/a;b=c", "/a;b=c"],
    ["/~!$&'()*,:@-_", "/~!$&'()*,:@-_"],
    ["/%3F%23", "/?#"],
    [`/${"a".repeat(4_095)}`, `/${"a".repeat(4_095)}`],
  ];
  for (const [raw, path] of taken) {
    test(`takes ${JSON.stringify(raw.slice(0, 40))}`, () => expect(decodePath(raw)).toBe(path));
  }

  const name = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 8 })
    // oxlint-disable-next-line no-control-regex -- they are what is refused
    .filter((s) => s !== "." && s !== ".." && s.isWellFormed() && !/[/\\\0-\x1f\x7f\ufffd]/.test(s));
  const path = fc.array(name, { maxLength: 6 }).map((names) => `/${names.join("/")}`);

  test("what was encoded once comes back, and only what was encoded once", () => {
    fc.assert(fc.property(path, (p) => decodePath(encodePath(p)) === p));
  });

  test("each byte encoded or not, a path means the same, or nothing", () => {
    fc.assert(
      fc.property(path, fc.infiniteStream(fc.boolean()), (p, coins) => {
        let raw = "";
        for (const byte of new TextEncoder().encode(p)) {
          const { value: coin } = coins.next();
          const plain = byte < 0x80 && byte !== 0x25 && (byte === 0x2f || coin === true);
          raw += plain ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, "0")}`;
        }
        expect(decodePath(raw)).toBe(p);
      }),
    );
  });

  test("whatever comes, the result has no dot segment, no backslash, no control character, and begins with a slash", () => {
    const piece = fc.oneof(
      fc.constantFrom(
        "/",
        ".",
        "..",
        "%2e",
        "%2E",
        "%2f",
        "%5c",
        "\\",
        "%00",
        "%c0%ae",
        "%252e",
        "%",
        "a",
        "%25",
      ),
      fc.string({ maxLength: 3 }),
      fc.integer({ min: 0, max: 255 }).map((n) => `%${n.toString(16).padStart(2, "0")}`),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const decoded = decodePath(`/${pieces.join("")}`);
        if (decoded === undefined) return;
        expect(decoded.startsWith("/")).toBe(true);
        expect(decoded.split("/").some((segment) => segment === "." || segment === "..")).toBe(false);
        // oxlint-disable-next-line no-control-regex -- they are what is refused
        expect(/[\\\0-\x1f\x7f]/.test(decoded)).toBe(false);
        expect(decoded.isWellFormed()).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});

test("a Location made of a path never names another host", () => {
  fc.assert(
    fc.property(fc.string(), (s) => {
      fc.pre(s.isWellFormed());
      const { host } = new URL(encodePath(`/${s}`), "http://site.test/");
      expect(host).toBe("site.test");
    }),
  );
});

test("hidden is what has a name with a dot in front, /.well-known apart", () => {
  const hidden = [
    "/.env",
    "/a/.git/config",
    "/.well-known/.x",
    "/.well-known-not",
    "/a/.well-known/x",
    "/...",
  ];
  const shown = ["/", "/a.b", "/a./b", "/.well-known", "/.well-known/x", "/a.../b"];
  expect(hidden.filter((path) => !isHidden(path))).toEqual([]);
  expect(shown.filter(isHidden)).toEqual([]);
});

test("a URL's path and query are found whatever stands around them", () => {
  const cases: [string, string, string][] = [
    ["http://h/", "/", ""],
    ["http://h:80/a/b?c=d?e", "/a/b", "?c=d?e"],
    ["http://h/a?b#c", "/a", "?b"],
    ["http://h/a#c?d", "/a", ""],
    ["/relative?x", "/relative", "?x"],
    ["http://h", "/", ""],
    ["http://[::1]:1/a", "/a", ""],
  ];
  for (const [url, path, query] of cases)
    expect([url, rawPathOf(url), queryOf(url)]).toEqual([url, path, query]);
});
