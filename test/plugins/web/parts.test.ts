/** The pure parts of the web VOS: patterns, ranges, dates, negotiation, cache. */
import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { ClockCache } from "../../../plugins/web/clock-cache.ts";
import { negotiate } from "../../../plugins/web/encodings.ts";
import { compileGlob, substitute } from "../../../plugins/web/glob.ts";
import { parseHttpDate } from "../../../plugins/web/http-date.ts";
import { parseRanges } from "../../../plugins/web/ranges.ts";

describe("patterns", () => {
  const cases: [string, string, string[] | null][] = [
    ["/a", "/a", []],
    ["/a", "/ab", null],
    ["/a", "/a/", null],
    ["/*", "/a", ["a"]],
    ["/*", "/a/b", null],
    ["/**", "/a/b", ["a/b"]],
    ["/**", "/", [""]],
    ["/a/*/c", "/a/b/c", ["b"]],
    ["/**/*.js", "/x/y/z.js", ["x/y", "z"]],
    ["/a.b", "/axb", null],
    ["/(a|b)+", "/(a|b)+", []],
    ["/*", "/a\nb", ["a\nb"]],
    ["/😀*", "/😀x", ["x"]],
  ];
  for (const [pattern, path, captures] of cases) {
    test(`${pattern} and ${JSON.stringify(path)}`, () =>
      expect(compileGlob(pattern)(path)).toEqual(captures));
  }
  test("three wildcards, three stars and no slash are refused", () => {
    for (const bad of ["/*/*/*", "/***", "a", ""]) expect(() => compileGlob(bad)).toThrow();
  });
  test("any pattern is quick on a path made to be slow", () => {
    const match = compileGlob("/**a**b");
    expect(match(`/${"a".repeat(4_000)}`)).toBeNull();
  });
  test("what was not matched leaves nothing behind", () => {
    expect(substitute("/x/$1/$2/$$", ["a"])).toBe("/x/a//$$");
  });
});

describe("ranges", () => {
  test("every range lies in the file and is what its text says", () => {
    fc.assert(
      fc.property(fc.nat(1_000), fc.nat(1_000), fc.nat(1_000), (size, a, b) => {
        const [first, last] = a < b ? [a, b] : [b, a];
        const ranges = parseRanges(`bytes=${first}-${last}`, size);
        if (first >= size) expect(ranges).toEqual([]);
        else expect(ranges).toEqual([{ start: first, end: Math.min(last + 1, size) }]);
      }),
    );
  });
  test("whatever comes never leads out of the file", () => {
    const text = fc.stringMatching(/^[0-9, -]{0,30}$/);
    fc.assert(
      fc.property(text, fc.nat(100), (spec, size) => {
        for (const { start, end } of parseRanges(`bytes=${spec}`, size) ?? []) {
          expect(start >= 0 && start < end && end <= size).toBe(true);
        }
      }),
    );
  });
});

describe("dates", () => {
  const now = Date.UTC(2026, 0, 1);
  const cases: [string, number | null][] = [
    ["Sun, 06 Nov 1994 08:49:37 GMT", Date.UTC(1994, 10, 6, 8, 49, 37)],
    ["Sunday, 06-Nov-94 08:49:37 GMT", Date.UTC(1994, 10, 6, 8, 49, 37)],
    ["Sun Nov  6 08:49:37 1994", Date.UTC(1994, 10, 6, 8, 49, 37)],
    ["Friday, 02-Jan-76 00:00:00 GMT", Date.UTC(2076, 0, 2)],
    ["Saturday, 02-Jan-77 00:00:00 GMT", Date.UTC(1977, 0, 2)],
    ["Sun, 06 Nov 1994 08:49:37 CET", null],
    ["Sun, 06 Foo 1994 08:49:37 GMT", null],
    ["Sun, 06 Nov 1994 25:00:00 GMT", null],
    ["1994-11-06T08:49:37Z", null],
    ["", null],
  ];
  for (const [text, ms] of cases) test(text || "(empty)", () => expect(parseHttpDate(text, now)).toBe(ms));
  test("what we write we read", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), (seconds) => {
        expect(parseHttpDate(new Date(seconds * 1000).toUTCString(), now)).toBe(seconds * 1000);
      }),
    );
  });
});

test("whatever Accept-Encoding says, the answer is one of what there is", () => {
  const header = fc.oneof(fc.string(), fc.stringMatching(/^[a-z*;=q0-9., -]{0,60}$/));
  fc.assert(
    fc.property(header, (accept) => {
      expect([null, "gzip"]).toContain(negotiate(accept, ["gzip"]));
    }),
  );
});

describe("cache", () => {
  test("it never weighs more than it may, and gives what was put last", () => {
    const puts = fc.array(fc.tuple(fc.nat(20), fc.nat(30), fc.boolean()), { maxLength: 200 });
    fc.assert(
      fc.property(puts, (list) => {
        const cache = new ClockCache<number>(100);
        const last = new Map<string, number>();
        for (const [i, [key, weight, read]] of list.entries()) {
          cache.set(String(key), i, weight);
          last.set(String(key), i);
          if (read) cache.get(String(list[0]?.[0]));
          expect(cache.weight).toBeLessThanOrEqual(100);
          const value = cache.get(String(key));
          expect(value).toBe(i);
        }
        for (const [key, value] of last) expect([undefined, value]).toContain(cache.get(key));
      }),
    );
  });
  test("what is used stays when what is not goes", () => {
    const cache = new ClockCache<number>(10);
    cache.set("hot", 1, 1);
    for (let i = 0; i < 100; i++) {
      cache.get("hot");
      cache.set(`cold${i}`, i, 1);
    }
    expect(cache.get("hot")).toBe(1);
  });
  test("what is heavier than the cache is not kept, and drops what it replaces", () => {
    const cache = new ClockCache<number>(10);
    cache.set("a", 1, 5);
    cache.set("a", 2, 11);
    expect(cache.get("a")).toBeUndefined();
    expect(cache.weight).toBe(0);
  });
});
