/** The quick decoder reads what the library reads, or nothing. */
import { decode, encode } from "@msgpack/msgpack";
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { decodeQuickly } from "../../../core/state/link/quick-decoder.ts";

const leaf = fc.oneof(
  fc.integer(),
  fc.maxSafeNat(),
  fc.double({ noNaN: true }),
  fc.string(),
  fc.string({ unit: "grapheme" }),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 300 }),
);
const message: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "xsmall" },
    leaf,
    fc.array(tie("value"), { maxLength: 8 }),
    fc.dictionary(fc.string(), tie("value"), { maxKeys: 6 }),
  ),
})).value;

/** Undefined: it refuses them. */
function byLibrary(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, { maxExtLength: 0, maxMapLength: 65_536, maxArrayLength: 1_048_576 });
  } catch {
    return undefined;
  }
}

test("what it reads, the library reads the same", () => {
  fc.assert(
    fc.property(message, (value) => {
      const bytes = encode(value);
      const read = decodeQuickly(bytes);
      if (read !== undefined) expect(byLibrary(bytes)).toEqual(read);
    }),
    { numRuns: 200 },
  );
});

test("damaged bytes are read as the library reads them, or left to it", () => {
  fc.assert(
    fc.property(
      message,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
      fc.nat(),
      (value, turns, cut) => {
        const bytes = encode(value).slice();
        for (const [at, byte] of turns) bytes[at % bytes.length] = byte;
        for (const part of [bytes, bytes.subarray(0, cut % (bytes.length + 1))]) {
          const read = decodeQuickly(part);
          if (read !== undefined) expect(byLibrary(part)).toEqual(read);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("messages of links are plain", () => {
  const operation = { op: "put", key: "key-1", value: new Uint8Array(300) };
  const all = [
    [16, 7, 3, "kv", operation],
    [17, 2 ** 40, 0, { done: true, revision: 70_000 }, 70_000],
    ["client-0123456789abcdef", -3, 1.5, true, null, "x".repeat(1_000), new Uint8Array(70_000)],
    Array.from({ length: 300 }, (_, i) => [i, "name", "kv", i, new Uint8Array(i)]),
  ];
  for (const value of all) expect(decodeQuickly(encode(value))).toEqual(value);
});

test("text that is not ASCII, nesting without end and other names than of fields are left to the library", () => {
  let deep: unknown = 1;
  for (let i = 0; i < 50; i++) deep = [deep];
  const proto = new Uint8Array([0x81, 0xa9, ...new TextEncoder().encode("__proto__"), 1]);
  for (const bytes of [
    encode("\ufeffä"),
    encode(deep),
    proto,
    new Uint8Array([0x81, 1, 1]),
    new Uint8Array(0),
  ])
    expect(decodeQuickly(bytes)).toBeUndefined();
});

test("strings of the same length and beginning are not taken for one another", () => {
  for (let i = 0; i < 20_000; i++) {
    const name = `client-${i.toString(36).padStart(8, "0")}`;
    expect(decodeQuickly(encode(name))).toBe(name);
  }
});
