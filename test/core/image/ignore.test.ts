import { expect, test } from "bun:test";
import { parseIgnore } from "../../../core/image/ignore.ts";

/** Patterns; paths that they ignore; paths that they do not. A trailing `/` marks a directory. As git does it. */
const cases: [string[], string[], string[]][] = [
  [["*.log"], ["/a.log", "/b/c.log", "/x.log/"], ["/a.logs", "/log"]],
  [["/*.log"], ["/a.log"], ["/b/c.log"]],
  [["build/"], ["/build/", "/a/build/"], ["/build"]],
  [["a/b"], ["/a/b", "/a/b/"], ["/x/a/b"]],
  [["**/b/c"], ["/b/c", "/a/b/c", "/x/a/b/c"], ["/b/x/c"]],
  [["a/**/b"], ["/a/b", "/a/x/b", "/a/x/y/b"], ["/x/a/b", "/ab"]],
  [["a/**"], ["/a/b", "/a/b/c"], ["/x/a/b"]],
  [["a?c"], ["/abc"], ["/a/c", "/ac", "/abbc"]],
  [
    ["[a-c].txt", "[!x]1"],
    ["/a.txt", "/y1"],
    ["/d.txt", "/x1", "/-.txt"],
  ],
  [["[]]x"], ["/]x"], ["/x"]],
  [["*.js", "!keep.js"], ["/a.js"], ["/keep.js", "/d/keep.js"]],
  [["!keep.js", "*.js"], ["/keep.js"], []],
  [["# note", "", "  ", "\\#file"], ["/#file"], ["/# note"]],
  [["trail  ", "kept\\ "], ["/trail", "/kept "], ["/trail  "]],
  [
    ["a.b", "x+(y)"],
    ["/a.b", "/x+(y)"],
    ["/aXb", "/xy"],
  ],
  [["crlf\r"], ["/crlf"], []],
  [["é*"], ["/école"], ["/ecole"]],
  [["**"], ["/a", "/a/b"], []],
  [["a\\*b"], ["/a*b"], ["/axb"]],
];

for (const [patterns, ignored, kept] of cases) {
  test(`the patterns ${JSON.stringify(patterns)} ignore what git would`, () => {
    const ignore = parseIgnore(patterns);
    const test = (path: string): boolean => ignore(path.replace(/(?<=.)\/$/, ""), path.endsWith("/"));
    expect(ignored.filter((path) => !test(path))).toEqual([]);
    expect(kept.filter(test)).toEqual([]);
  });
}
