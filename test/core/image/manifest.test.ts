import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { digestOf } from "../../../core/image/digest.ts";
import { encodeManifest, parseManifest } from "../../../core/image/manifest.ts";
import { imageFilesMax } from "../../../core/limits.ts";
import type { ImageEntry } from "../../../core/vos.ts";
import { rejectionOf } from "./rejection.ts";

const hex = "ab".repeat(32);
const bytes = (...lines: string[]): Uint8Array => new TextEncoder().encode(`${lines.join("\n")}\n`);
const manifest = (...entries: string[]): Uint8Array =>
  bytes(`["dvs-image",1,${entries.length + 1}]`, '["d","/",493]', ...entries);

const name = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
  .filter((n) => !/[/\0]/.test(n) && n !== "." && n !== "..");
const tree = fc
  .uniqueArray(fc.array(name, { minLength: 1, maxLength: 4 }), {
    selector: (names) => names.join("/"),
    maxLength: 20,
  })
  .chain((paths) =>
    fc.tuple(fc.constant(paths), fc.array(fc.nat(2), { minLength: paths.length, maxLength: paths.length })),
  )
  .map(([paths, kinds]) => {
    const entries = new Map<string, ImageEntry>();
    const add = (path: string, type: ImageEntry["type"], more: Partial<ImageEntry> = {}): void => {
      entries.set(path, { path, type, size: 0, digest: "", mode: 0o755, target: "", ...more });
    };
    for (const [i, names] of paths.entries()) {
      const path = `/${names.join("/")}`;
      if (kinds[i] === 1) add(path, "symlink", { mode: 0o777, target: names.at(-1) ?? "" });
      else if (kinds[i] === 2) add(path, "directory");
      else {
        const size = path.length;
        add(path, "file", { size, digest: digestOf(new TextEncoder().encode(`${size}`)), mode: 0o644 });
      }
    }
    // What lies under a path makes a directory of it.
    add("/", "directory");
    for (const names of paths) {
      for (let n = 1; n < names.length; n++) add(`/${names.slice(0, n).join("/")}`, "directory");
    }
    return [...entries.values()];
  });

test("a manifest is read back as it was written, and one tree has one digest in whatever order it is told", async () => {
  await fc.assert(
    fc.asyncProperty(tree, async (entries) => {
      const encoded = await encodeManifest(entries);
      const parsed = await parseManifest(encoded);
      const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
      expect(parsed.entries).toEqual(sorted);
      expect(parsed.digest).toBe(digestOf(encoded));
      expect(await encodeManifest([...entries].reverse())).toEqual(encoded);
    }),
    { numRuns: 100 },
  );
});

test("any cut of a manifest is refused", async () => {
  const whole = manifest('["d","/a",493]', `["f","/a/b",420,3,"${hex}"]`, '["l","/c","a/b"]');
  expect((await parseManifest(whole)).files).toBe(1);
  for (let end = 0; end < whole.length; end++) {
    expect(await rejectionOf(parseManifest(whole.subarray(0, end)))).toMatchObject({ code: "INVALID" });
  }
});

const hostile: [string, Uint8Array, string][] = [
  ["nothing", new Uint8Array(0), "no entries are announced"],
  ["not JSON", bytes("hello"), "not JSON"],
  ["not UTF-8", new Uint8Array([0x22, 0xff, 0x22, 10]), "not JSON in UTF-8"],
  ["another version", bytes('["dvs-image",2,1]', '["d","/",493]'), "item 1"],
  ["a count beyond the limit", bytes(`["dvs-image",1,${imageFilesMax + 1}]`), "item 2"],
  ["more entries than announced", bytes('["dvs-image",1,1]', '["d","/",493]', '["d","/a",493]'), "more than"],
  ["fewer entries than announced", bytes('["dvs-image",1,2]', '["d","/",493]'), "2 entries are announced"],
  ["no root", bytes('["dvs-image",1,1]', '["d","/a",493]'), "must be the directory /"],
  ["blanks in the line", manifest('["d", "/a",493]'), "canonical"],
  ["a number written otherwise", manifest('["d","/a",4.93e2]'), "canonical"],
  ["a relative path", manifest('["d","a",493]'), "must be absolute"],
  ["a path that climbs", manifest('["d","/..",493]'), "must not contain `..`"],
  ["a path that climbs inside", manifest('["d","/a",493]', '["d","/a/../b",493]'), "must not contain `..`"],
  ["a doubled slash", manifest('["d","//a",493]'), "`//`"],
  ["a trailing slash", manifest('["d","/a/",493]'), "`//`"],
  ["a NUL", manifest('["d","/a\\u0000",493]'), "NUL"],
  ["half a surrogate pair", manifest('["d","/a\\ud800",493]'), "well-formed"],
  ["a long name", manifest(`["d","/${"é".repeat(128)}",493]`), "more than 255 bytes"],
  ["a long path", manifest(`["d","${"/abcdefg".repeat(600)}",493]`), "at most 4096 bytes"],
  ["a duplicate", manifest('["d","/a",493]', '["d","/a",493]'), "duplicate"],
  ["entries out of order", manifest('["d","/b",493]', '["d","/a",493]'), "out of order"],
  ["no directory for an entry", manifest('["d","/a/b",493]'), "in no directory"],
  ["a file as a directory", manifest(`["f","/a",420,0,"${hex}"]`, '["d","/a/b",493]'), "in no directory"],
  ["a link as a directory", manifest('["l","/a","/"]', '["d","/a/b",493]'), "in no directory"],
  ["a link over the root", manifest('["l","/a","../etc/passwd"]'), "must not lead out"],
  ["a link over the root and back", manifest('["l","/a","/b/../../a"]'), "must not lead out"],
  ["an empty link", manifest('["l","/a",""]'), "must not be empty"],
  ["a negative size", manifest(`["f","/a",420,-1,"${hex}"]`), "item 3"],
  ["a huge size", manifest(`["f","/a",420,1e+300,"${hex}"]`), "item 3"],
  ["a digest that is a path", manifest('["f","/a",420,1,"../../../etc/passwd"]'), "64 hex digits"],
  ["set-uid bits", manifest(`["f","/a",2541,1,"${hex}"]`), "item 2"],
  [
    "one blob of two sizes",
    manifest(`["f","/a",420,1,"${hex}"]`, `["f","/b",420,2,"${hex}"]`),
    "another size",
  ],
  ["an unknown kind", manifest('["x","/a"]'), 'kind is "x"'],
  ["more items", manifest('["d","/a",493,1]'), "Too big"],
  ["a deep array", bytes("[".repeat(60_000)), "not JSON"],
  ["an endless line", bytes("x".repeat(100_000)), "longer than"],
];

for (const [what, content, message] of hostile) {
  test(`a manifest with ${what} is refused, saying so`, async () => {
    const error = await parseManifest(content).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "INVALID" });
    expect((error as Error).message).toContain(message);
    expect((error as Error).message.length).toBeLessThan(700);
  });
}

test("what could not be read is not written", async () => {
  const entry: ImageEntry = { path: "/a/../b", type: "directory", size: 0, digest: "", mode: 0, target: "" };
  expect(await rejectionOf(encodeManifest([{ ...entry, path: "/" }, entry]))).toMatchObject({
    code: "INVALID",
  });
});
