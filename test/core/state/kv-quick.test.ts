/** What is checked by hand is what the schemas say, and nothing else. */
import { expect, test } from "bun:test";
import { decode, encode } from "@msgpack/msgpack";
import * as fc from "fast-check";
import { kvKeyBytesMax } from "../../../core/limits.ts";
import { KvFound, KvOperation, KvQuery, KvResult } from "../../../core/state/modules/kv-messages.ts";
import {
  checkedFound,
  checkedOperation,
  checkedQuery,
  checkedResult,
  readEncodedPut,
  textOfPut,
} from "../../../core/state/modules/kv-quick.ts";

const key = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom("", "\ud800", "x".repeat(kvKeyBytesMax), "x".repeat(kvKeyBytesMax + 1), "é".repeat(600)),
  fc.integer(),
);
const bytes = fc.oneof(fc.uint8Array({ maxLength: 70 }), fc.constant("text"), fc.constant(null));
const revision = fc.constantFrom(0, 1, 2 ** 52, 2 ** 60, -1, 1.5, Number.NaN, "1", undefined);
const extra = fc.constantFrom({}, { more: 1 }, { lease: "a" }, { lease: "" }, { ifRevision: 3 });

/** The same value, or a refusal by both. */
function agree(quick: (value: unknown) => unknown, schema: { safeParse(value: unknown): unknown }) {
  return (value: unknown): void => {
    const judged = schema.safeParse(value) as { success: boolean; data?: unknown };
    if (!judged.success) expect(() => quick(value)).toThrow();
    else expect(quick(value)).toEqual(judged.data);
  };
}

test("operations pass as the schema has it", () => {
  const check = agree((value) => checkedOperation(value, "operation"), KvOperation);
  const op = fc.constantFrom("put", "delete", "Put", 1);
  const operations = fc
    .tuple(op, key, bytes, extra)
    .map(([op, key, value, more]) => ({ op, key, value, ...more }));
  fc.assert(fc.property(fc.oneof(operations, fc.anything()), check), { numRuns: 2_000 });
});

test("queries pass as the schema has it", () => {
  const check = agree((value) => checkedQuery(value, "query"), KvQuery);
  const queries = fc.tuple(fc.constantFrom("key", "list"), key, extra);
  const all = fc.oneof(
    queries.map(([get, key, more]) => ({ get, key, ...more })),
    fc.anything(),
  );
  fc.assert(fc.property(all, check), { numRuns: 2_000 });
});

test("answers pass as the schemas have it", () => {
  const result = fc.tuple(fc.constantFrom(true, false, 1), revision, extra);
  const results = result.map(([done, revision, more]) => ({ done, revision, ...more }));
  fc.assert(fc.property(fc.oneof(results, fc.anything()), agree(checkedResult, KvResult)), {
    numRuns: 2_000,
  });
  const entry = fc
    .tuple(key, bytes, revision, extra)
    .map(([key, value, revision, more]) => ({ key, value, revision, ...more }));
  const found = fc
    .tuple(fc.array(entry, { maxLength: 3 }), fc.constantFrom(false, true, undefined, 1), extra)
    .map(([entries, more, rest]) => ({ ...rest, entries, more }));
  fc.assert(fc.property(fc.oneof(found, fc.anything()), agree(checkedFound, KvFound)), { numRuns: 2_000 });
});

test("the bytes of a put are read as decoding them reads them", () => {
  const sizes = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(255, 256, 65_535, 65_536));
  const keys = fc.oneof(
    fc.string({ minLength: 1, maxLength: 300 }),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }),
    fc.constantFrom("k", "k".repeat(31), "k".repeat(32), "k".repeat(255), "k".repeat(256)),
  );
  fc.assert(
    fc.property(keys, sizes, (key, size) => {
      const value = new Uint8Array(size).fill(7);
      const bytes = encode({ op: "put", key, value });
      const put = readEncodedPut(bytes);
      const isAscii = /^[\0-\x7f]*$/.test(key);
      expect(put && { key: textOfPut(bytes, put), value: bytes.slice(put.valueAt) }).toEqual(
        isAscii ? { key, value } : null,
      );
    }),
  );
});

test("whatever else bytes are, they are not taken for a put", () => {
  const whole = encode({ op: "put", key: "abc", value: new Uint8Array(5) });
  for (let end = 0; end < whole.length; end++) expect(readEncodedPut(whole.subarray(0, end))).toBeNull();
  expect(readEncodedPut(new Uint8Array([...whole, 0]))).toBeNull();
  for (const other of [
    { op: "put", key: "", value: new Uint8Array(1) },
    { op: "put", key: "a", value: "b" },
    { op: "put", key: "a", value: new Uint8Array(1), ifRevision: 0 },
    { op: "put", value: new Uint8Array(1), key: "a" },
    { op: "delete", key: "a" },
  ]) {
    expect(readEncodedPut(encode(other))).toBeNull();
  }
  // Each byte of it changed: it is null, or what decoding says.
  for (let i = 0; i < whole.length; i++) {
    for (const flip of [1, 0x80, 0xff]) {
      const bytes = whole.slice();
      bytes[i]! ^= flip;
      const put = readEncodedPut(bytes);
      if (!put) continue;
      const decoded = decode(bytes) as { key: string; value: Uint8Array };
      expect({ op: "put", key: textOfPut(bytes, put), value: bytes.slice(put.valueAt) }).toEqual(
        decoded as never,
      );
    }
  }
});
