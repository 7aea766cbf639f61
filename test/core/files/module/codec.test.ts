import { expect, test } from "bun:test";
import { encode } from "@msgpack/msgpack";
import {
  checkedFollow,
  checkedQuery,
  decodeOperation,
  encodeOperation,
} from "../../../../core/files/module/codec.ts";
import { writeBytesMax } from "../../../../core/limits.ts";
import { operationBytesMax } from "../../../../core/replica/timings.ts";

const by = [1, 2, [3]];
const good: unknown[][] = [
  [1, by, 1, "a", 0o100644, "", 0, 1],
  [2, by, 2, 1, "b"],
  [3, by, 1, "a", 2],
  [4, by, 1, "a", 2],
  [5, by, 1, "a", 1, "b", 0, 2, 0],
  [6, by, 2, -1, -1, -1, -1, null, 0, 0],
  [6, by, 2, -1, -1, -1, -1, [-1, 0], [1, 999_999_999], 0],
  [7, by, 2, -1, new Uint8Array(writeBytesMax)],
  [8, 2],
  [9, [2, 3]],
  [10, 2, 1, 2, 0, -1, "p 1", 12, 0],
  [11, 2, 1],
  [12, 2, "id"],
  [13, "id"],
  [14, "id", 10, 0],
  [15, "id", 0],
  [16, "id"],
  [17, 30_000],
  [18, 0, 0],
  [19, "a".repeat(64), 0, [["/", 0o040755, 0, ""]], 1],
  [20, by, 1, "a", 0, 0o644, -1, 5, [1, 2], new Uint8Array(writeBytesMax)],
  [32],
  [33, 1, [[2, 0, 0, 1]], new Uint8Array(1)],
  [34],
];
const junk: unknown[] = [
  ...[undefined, null, -2, 1.5, NaN, Infinity, 2 ** 60, "", "\ud800", "x".repeat(5_000), true],
  ...[[], {}, [1], [-1, 1, []], new Uint8Array(0), new Uint8Array(writeBytesMax + 1)],
];

test("each operation goes into the log and comes back as it was", () => {
  for (const operation of good) {
    const encoded = encodeOperation(operation);
    expect(encoded.length).toBeLessThan(operationBytesMax);
    expect(decodeOperation(encoded) as unknown[]).toEqual(operation);
  }
});

test("what is not quite an operation is none, field by field", () => {
  let refused = 0;
  for (const operation of good) {
    for (const wrong of [
      operation.slice(0, -1),
      [...operation, 0],
      Object.assign({}, operation),
      "x",
      null,
    ]) {
      if (Array.isArray(wrong) && wrong.length === 0) continue;
      expect(() => encodeOperation(wrong)).toThrow("no operation of a file system");
    }
    for (let field = 0; field < operation.length; field++) {
      for (const value of junk) {
        const changed = operation.with(field, value);
        try {
          encodeOperation(changed);
        } catch (e) {
          expect(String(e)).toContain("no operation of a file system");
          refused++;
        }
      }
      // An object is in no field.
      expect(() => encodeOperation(operation.with(field, {}))).toThrow("no operation");
    }
  }
  expect(refused).toBeGreaterThan(1_000);
  for (const bytes of [
    new Uint8Array(0),
    encode("x"),
    encode([99]),
    encode([8, 0]),
    new Uint8Array([0xc1]),
  ]) {
    expect(() => decodeOperation(bytes)).toThrow("no operation of a file system");
  }
});

test("queries and subscriptions are checked alike", () => {
  for (const query of [["attributes", 1], ["usage"], ["lookup", null, 1, "a"], ["path", by, "/", 1]]) {
    expect(checkedQuery(query) as unknown).toEqual(query);
  }
  for (const query of [["attributes", 0], ["usage", 1], ["none"], ["constructor"], "usage", null, [], [1]]) {
    expect(() => checkedQuery(query)).toThrow("no query of a file system");
  }
  expect(checkedFollow(["changes", -1]) as unknown).toEqual(["changes", -1]);
  for (const follow of [["changes", -2], ["granted", "", 0], ["granted", "c", -1], ["toString"]]) {
    expect(() => checkedFollow(follow)).toThrow("no subscription of a file system");
  }
});
