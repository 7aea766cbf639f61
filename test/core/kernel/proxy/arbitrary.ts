/** Messages of kernels, and what becomes of frames in bad hands, for fast-check. Made from the message table. */
import * as fc from "fast-check";
import { slotsMax } from "../../../../core/kernel/endpoint.ts";
import {
  type FieldKind,
  type KernelMessage,
  type MessageName,
  messageTable,
  type MessageRow,
} from "../../../../core/kernel/messages.ts";
import { outcomes } from "../../../../core/kernel/outcome.ts";
import { copyFrameBytes, groupsMax } from "../../../../core/limits.ts";

const uint = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.constantFrom(
    0x7f,
    0x80,
    0xff,
    0x100,
    0xffff,
    0x1_0000,
    0xffff_ffff,
    0x1_0000_0000,
    Number.MAX_SAFE_INTEGER,
  ),
  fc.maxSafeNat(),
);
const endpoint = fc
  .integer({ min: slotsMax, max: Number.MAX_SAFE_INTEGER })
  .map((n) => Math.min(n, 2 ** 52 - 1));
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.integer({ min: 0, max: copyFrameBytes }).map((length) => new Uint8Array(length).fill(length)),
);
/** Plain values. `__proto__` and −0 are no plain values, as far as msgpack goes. */
export const body: fc.Arbitrary<unknown> = fc.oneof(
  bytes,
  fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom(null, true, false, "", "ü", "a".repeat(300)),
      fc.integer(),
      fc.double({ noNaN: true }).map((n) => n + 0),
      fc.string(),
      fc.uint8Array({ maxLength: 20 }),
      fc.array(tie("value"), { maxLength: 5 }),
      fc.dictionary(
        fc.string({ maxLength: 8 }).filter((key) => key !== "__proto__"),
        tie("value"),
        { maxKeys: 5, noNullPrototype: true },
      ),
    ),
  })).value,
);

const kinds: Record<FieldKind, fc.Arbitrary<unknown>> = {
  endpoint,
  kernel: uint.map((n) => Math.max(1, n)),
  uint,
  timeMs: fc.double({ min: 0, max: 1e15, noNaN: true }).map((n) => n + 0),
  group: fc.integer({ min: 0, max: groupsMax - 1 }),
  body,
  bytes,
  outcome: fc.constantFrom(...Object.keys(outcomes)),
  flag: fc.integer({ min: 0, max: 1 }),
  calls: fc.array(fc.tuple(endpoint, uint), { maxLength: 40 }).map((pairs) => pairs.flat()),
  states: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 40 }),
};

export function messageOf(name: MessageName): fc.Arbitrary<KernelMessage> {
  const { number, fields }: MessageRow = messageTable[name];
  const values = fields.map(([, kind]) => kinds[kind]);
  return fc.tuple(fc.constant(number), ...values) as unknown as fc.Arbitrary<KernelMessage>;
}

export const names = Object.keys(messageTable) as MessageName[];
export const message: fc.Arbitrary<KernelMessage> = fc.oneof(...names.map(messageOf));

/** What a bad peer, or a bad line, does to bytes. */
export type Damage = (bytes: Uint8Array) => Uint8Array;
const at = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });

export const damage: fc.Arbitrary<Damage> = fc
  .array(
    fc.oneof(
      fc.tuple(at, fc.integer({ min: 0, max: 255 })).map(([where, byte]): Damage => {
        return (of) => of.with(Math.floor(where * of.length), byte);
      }),
      fc.tuple(at, fc.integer({ min: 0, max: 7 })).map(([where, bit]): Damage => {
        return (of) => of.map((byte, i) => (i === Math.floor(where * of.length) ? byte ^ (1 << bit) : byte));
      }),
      at.map(
        (where): Damage =>
          (of) =>
            of.slice(0, Math.ceil(where * of.length)),
      ),
      fc.tuple(at, fc.uint8Array({ minLength: 1, maxLength: 8 })).map(([where, more]): Damage => {
        return (of) => {
          const middle = Math.floor(where * of.length);
          return Uint8Array.from([...of.subarray(0, middle), ...more, ...of.subarray(middle)]);
        };
      }),
      // Lengths that promise much.
      fc.tuple(at, fc.constantFrom(0xdd, 0xdf, 0xc6, 0xdb, 0xc9)).map(([where, head]): Damage => {
        return (of) => {
          const copy = of.slice();
          copy.set(
            [head, 0xff, 0xff, 0xff, 0xff].slice(0, of.length - Math.floor(where * of.length)),
            where * of.length,
          );
          return copy;
        };
      }),
    ),
    { minLength: 1, maxLength: 3 },
  )
  .map(
    (steps): Damage =>
      (bytes) =>
        steps.reduce((of, step) => (of.length === 0 ? of : step(of)), bytes),
  );
