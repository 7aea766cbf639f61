import { afterEach, beforeEach, expect, test } from "bun:test";
import type { AttributesRow } from "../../../../core/files/attributes.ts";
import type { FileOperation, FileResult } from "../../../../core/files/operations.ts";
import { ModuleRefusal } from "../../../../core/state/module.ts";
import { superuser, TestVolume } from "./test-volume.ts";

let volume: TestVolume;
beforeEach(() => {
  volume = new TestVolume();
});
afterEach(() => volume.close());

const put = (name: string, replaced: number, bytes: number): FileOperation => [
  ...([20, superuser, 1, name, replaced, 0o644, -1, -1, 0] as const),
  new Uint8Array(bytes),
];
const usage = () => (volume.module.read(["usage"]) as FileResult).slice(1, 4);

test("a file that is put counts in the quota as any other, and so does what it replaces", () => {
  const [, first] = volume.operate(put("a", 0, 1_000)) as [string, AttributesRow];
  expect(usage().filter((_, i) => i !== 1)).toEqual([1_000, 2]);
  volume.operate(put("a", first[0], 10));
  expect(usage().filter((_, i) => i !== 1)).toEqual([10, 2]);
  volume.operate([18, 100, 3]);
  const before = volume.digest();
  expect(volume.operate(put("b", 0, 91))).toEqual(["EDQUOT"]);
  expect(volume.digest()).toBe(before);
  expect(volume.operate(put("b", 0, 90))[0]).toBe("");
  expect(volume.operate(put("c", 0, 0))).toEqual(["EDQUOT"]);
});

test("a name that has another file than the writer believes stays as it is", () => {
  const [, first] = volume.operate(put("a", 0, 1)) as [string, AttributesRow];
  const before = volume.digest();
  expect(volume.operate(put("a", 0, 2))).toEqual(["changed"]);
  expect(volume.operate(put("a", first[0] + 1, 2))).toEqual(["changed"]);
  expect(volume.operate(put("b", first[0], 2))).toEqual(["changed"]);
  expect(volume.digest()).toBe(before);
});

test("as long as the level is that of older replicas, nothing is put", () => {
  const context = { index: 1, timeMs: 1, random: new Uint8Array(16), client: "one", level: 1 };
  const before = volume.digest();
  expect(() => volume.module.apply(volume.module.encode(put("a", 0, 1)), context)).toThrow(ModuleRefusal);
  expect(volume.digest()).toBe(before);
});
