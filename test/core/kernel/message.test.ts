import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { bodyBytes, notPlain } from "../../../core/kernel/message.ts";
import { ByteReader } from "../../../core/kernel/proxy/byte-reader.ts";
import { encodeValue, readBody } from "../../../core/kernel/proxy/body.ts";
import { messageBytesMax } from "../../../core/limits.ts";

const most = messageBytesMax;

/** As another kernel gets it. */
function carried(body: unknown): { bytes: number; value: unknown } {
  const bytes = encodeValue(body).slice();
  const reader = new ByteReader();
  reader.open(bytes, 0, bytes.length);
  const value = readBody(reader);
  expect(reader.at).toBe(bytes.length);
  return { bytes: bytes.length, value };
}

const key = fc.string({ unit: "grapheme", maxLength: 20 }).filter((text) => text !== "__proto__");
const plain = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }).map((n) => (Object.is(n, -0) ? 0 : n)),
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.string({ unit: "grapheme", maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }),
  ),
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tie("leaf"),
    fc.array(tie("value"), { maxLength: 20 }),
    fc.dictionary(key, tie("value"), { maxKeys: 20 }),
  ),
})).value;

/** Anything a program might pass: also what no message can carry. */
const anything = fc.anything({
  ...{ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true },
  ...{ withNullPrototype: true, withSparseArray: true, withObjectString: true, withBoxedValues: true },
  key: fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "toString", "\ud800")),
  values: [
    ...[fc.boolean(), fc.integer(), fc.double(), fc.string({ unit: "binary" }), fc.constant(undefined)],
    ...[fc.constant(null), fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)) })],
    fc.constant(() => {}),
  ],
});

test("a plain body is accepted, is encoded within its counted size, and arrives as an equal value", () => {
  fc.assert(
    fc.property(plain, (body) => {
      const counted = bodyBytes(body, most);
      expect(counted).toBeLessThanOrEqual(most);
      const { bytes, value } = carried(body);
      // Bytes that are the whole body are counted without their head.
      expect(bytes).toBeLessThanOrEqual(counted + (body instanceof Uint8Array ? 5 : 0));
      expect(value).toEqual(body);
    }),
    { numRuns: 500 },
  );
});

test("near its limit a body is counted to the byte", () => {
  fc.assert(
    fc.property(plain, (body) => {
      if (body instanceof Uint8Array) return;
      const { bytes } = carried(body);
      expect(bodyBytes(body, bytes)).toBe(bytes);
      expect(bodyBytes(body, bytes - 1)).toBeGreaterThan(bytes - 1);
    }),
    { numRuns: 500 },
  );
});

test("whatever is accepted arrives as it was, but for what is undefined", () => {
  fc.assert(
    fc.property(anything, (body) => {
      const counted = bodyBytes(body, most);
      if (counted > most) return;
      const { bytes, value } = carried(body);
      expect(bytes).toBeLessThanOrEqual(counted + (body instanceof Uint8Array ? 5 : 0));
      expect(value).toEqual(body === undefined ? null : withoutUndefined(body));
    }),
    { numRuns: 1_000 },
  );
});

/** toEqual takes −0 and 0 for different, msgpack does not. */
function withoutUndefined(value: unknown): unknown {
  if (Object.is(value, -0)) return 0;
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  const entries = Object.entries(value).filter(([, of]) => of !== undefined);
  return Object.fromEntries(entries.map(([key, of]) => [key, withoutUndefined(of)]));
}

class Point {
  x = 1;
}
const cycle: { next?: unknown } = {};
cycle.next = cycle;
const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
const refused: [string, unknown][] = [
  ["a date", new Date(0)],
  ["a map", new Map([[1, 2]])],
  ["a set", new Set([1])],
  ["an instance of a class", new Point()],
  ["an error", new Error("x")],
  ["a regular expression", /x/],
  ["a promise", Promise.resolve()],
  ["a buffer without a view", new ArrayBuffer(8)],
  ["a view of other elements than bytes", new Uint16Array(2)],
  ["a view of no elements", new DataView(new ArrayBuffer(2))],
  ["an array of a class", new (class extends Array {})()],
  ["a boxed number", Object(1)],
  ["a function", () => {}],
  ["a symbol", Symbol("x")],
  ["a bigint", 1n],
  ["a bigint beyond 64 bits", 2n ** 70n],
  ["a property named __proto__", JSON.parse('{"__proto__": {"x": 1}}')],
  ["half a character", "a\ud800b"],
  ["the other half", "\udc00"],
  ["half a character in a key", { "\ud800": 1 }],
  ["a hole in an array", [1, , 2]], // oxlint-disable-line no-sparse-arrays
  ["an undefined element", [undefined]],
  ["a cycle", cycle],
  ["33 levels", nested(33)],
];

test.each(refused)("%s cannot be carried, alone or within", (_name, value) => {
  expect(bodyBytes(value, most)).toBe(notPlain);
  expect(bodyBytes({ of: [value] }, most)).toBe(notPlain);
});

test("32 levels can be carried", () => {
  expect(bodyBytes(nested(32), most)).toBeLessThan(200);
  expect(carried(nested(32)).value).toEqual(nested(32));
});

test("bytes may have as many as a message, a text so many that its head fits too", () => {
  expect(bodyBytes(new Uint8Array(most), most)).toBe(most);
  expect(bodyBytes(new Uint8Array(most + 1), most)).toBeGreaterThan(most);
  expect(bodyBytes("x".repeat(most - 5), most)).toBe(most);
  expect(bodyBytes("x".repeat(most - 4), most)).toBeGreaterThan(most);
  expect(bodyBytes("€".repeat(most / 3 - 2), most)).toBeLessThanOrEqual(most);
  expect(bodyBytes("€".repeat(most / 3), most)).toBeGreaterThan(most);
  expect(
    bodyBytes(
      Array.from({ length: most - 5 }, () => 1),
      most,
    ),
  ).toBe(most);
});

test("a body that refers to itself many times is measured in no more steps than it may have bytes", () => {
  let body: unknown = [1];
  for (let i = 0; i < 30; i++) body = [body, body];
  expect(bodyBytes(body, most)).toBeGreaterThan(most);
});
