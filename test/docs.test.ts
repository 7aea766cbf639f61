/** What the pages in Markdown point at is there: links, their headings, and files of the tree that they name. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

const root = dirname(import.meta.dir);
const pages = ["*.md", "docs/*.md"].flatMap((glob) => [...new Bun.Glob(glob).scanSync({ cwd: root })]);
const read = (page: string) => readFileSync(join(root, page), "utf8");

/** As GitHub makes an anchor of a heading. */
const anchorsOf = (page: string) =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\- ]/gu, "")
      .replaceAll(" ", "-"),
  );

function brokenLink(page: string, target: string): boolean {
  const [path = "", anchor] = target.split("#");
  const file = path === "" ? page : join(dirname(page), path);
  if (!existsSync(join(root, file))) return true;
  return anchor !== undefined && !anchorsOf(file).includes(anchor);
}

/** `core/log`, `test/tools/x.ts`; not `core/control/**`, which is a pattern. */
const namedPath = /`((?:cli|configs|plugins|core|test|bench)\/[\w./-]+)`/g;

test("links between pages lead somewhere", () => {
  const links = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => ({ page, target })),
  );
  expect(links.length).toBeGreaterThan(10);
  const local = links.filter(({ target }) => !/^[a-z]+:/.test(target));
  expect(local.filter(({ page, target }) => brokenLink(page, target))).toEqual([]);
});

test("files and folders that pages name exist", () => {
  const named = pages.flatMap((page) =>
    [...read(page).matchAll(namedPath)].map(([, path = ""]) => ({ page, path })),
  );
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter(({ path }) => !existsSync(join(root, path)))).toEqual([]);
});

test("a broken link, a lost heading and a lost file are noticed", () => {
  expect(brokenLink("README.md", "docs/no-such.md")).toBe(true);
  expect(brokenLink("docs/kernel.md", "../README.md#no-such-heading")).toBe(true);
  expect(brokenLink("docs/kernel.md", "../README.md#high-availability")).toBe(false);
  expect([..."in `core/no-such.ts` and `dvs up`".matchAll(namedPath)].map(([, path]) => path)).toEqual([
    "core/no-such.ts",
  ]);
});
