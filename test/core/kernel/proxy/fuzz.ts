/**
 * Frames in bad hands: properties of the decoder and of connections, for any number of cases.
 *
 *   bun test/core/kernel/proxy/fuzz.ts --cases 1000000 [--seed 1]
 *
 * Whatever comes, there are two ends: a message that is right in every field, or a closed connection.
 */
import { deepStrictEqual } from "node:assert";
import { parseArgs } from "node:util";
import * as fc from "fast-check";
import { isEndpoint } from "../../../../core/kernel/endpoint.ts";
import {
  type FieldKind,
  type KernelMessage,
  messageNames,
  messageTable,
  type MessageRow,
} from "../../../../core/kernel/messages.ts";
import { outcomes } from "../../../../core/kernel/outcome.ts";
import { decodeMessage } from "../../../../core/kernel/proxy/decode.ts";
import { FrameReader } from "../../../../core/kernel/proxy/frame-reader.ts";
import { decodeLink, encodeLink } from "../../../../core/kernel/proxy/link-codec.ts";
import type { Hello } from "../../../../core/kernel/proxy/link-messages.ts";
import { Malformed } from "../../../../core/kernel/proxy/malformed.ts";
import { Outbox } from "../../../../core/kernel/proxy/outbox.ts";
import { wireRows } from "../../../../core/kernel/proxy/rows.ts";
import { copyFrameBytes, groupsMax, messageBytesMax } from "../../../../core/limits.ts";
import { damage, message } from "./arbitrary.ts";
import { Lab, LabWire, source, taken, trusting } from "./lab.ts";

export interface Property {
  name: string;
  /** Its part of all cases. */
  share: number;
  property: fc.IProperty<unknown>;
}

/** Messages as frames, one after another. */
function framesOf(messages: readonly KernelMessage[]): Uint8Array {
  const outbox = new Outbox();
  const wire = new LabWire();
  for (const each of messages) outbox.add(wireRows[each[0]]!, each);
  outbox.sendTo(wire);
  return Buffer.concat(wire.sent);
}

/** Without the frame's head. */
function payloadOf(each: KernelMessage): Uint8Array {
  return framesOf([each]).subarray(8);
}

export const properties: Property[] = [
  {
    name: "what is encoded is decoded to the same, however the stream is cut",
    share: 0.25,
    property: fc.property(
      fc.array(message, { maxLength: 4 }),
      fc.array(fc.nat(2_000), { maxLength: 6 }),
      (all, cuts) => {
        const stream = framesOf(all);
        const reader = new FrameReader();
        const decoded: KernelMessage[] = [];
        const user = {
          onFrame: (_kind: number, bytes: Uint8Array, start: number, end: number) => {
            decoded.push(kept(decodeMessage(bytes, start + 4, end)));
            return true;
          },
        };
        let from = 0;
        for (const cut of [...cuts, Infinity]) {
          reader.feed(stream.subarray(from, from + cut), user);
          from = Math.min(stream.length, from + cut);
        }
        deepStrictEqual(decoded, all);
      },
    ),
  },
  {
    name: "a damaged message is refused, or is a message that is right in every field",
    share: 0.45,
    property: fc.property(message, damage, (good, spoil) => {
      decodeOrRefuse(spoil(payloadOf(good)));
    }),
  },
  {
    name: "any bytes are refused, or are a message that is right in every field",
    share: 0.15,
    property: fc.property(
      fc.integer({ min: 16, max: 52 }),
      fc.uint8Array({ maxLength: 64 }),
      (number, bytes) => {
        const length = messageNames[number] ? messageTable[messageNames[number]].fields.length + 1 : 3;
        decodeOrRefuse(Uint8Array.from([0x90 | length, number, ...bytes]));
        decodeOrRefuse(bytes);
      },
    ),
  },
  {
    name: "a stranger's bytes deliver nothing, link nothing, and keep nothing",
    share: 0.05,
    property: fc.property(
      fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 4 }),
      damage,
      (chunks, spoil) => {
        const [, a, b] = Lab.pair();
        const wire = new LabWire();
        const connection = a.proxies.accept(wire, trusting)!;
        // Half of the time it begins like one who belongs here.
        if (chunks.length % 2 === 0) connection.onData(spoil(encodeLink(helloOf(b.channel(1).hello(1), {}))));
        for (const chunk of chunks) connection.onData(chunk);
        deepStrictEqual([a.received.length, a.channel(2).link], [0, null]);
      },
    ),
  },
  {
    name: "a hello for another kernel, incarnation, instance, version or channel links nothing",
    share: 0.03,
    property: fc.property(
      fc.record(
        {
          instance: fc.string({ unit: "grapheme-ascii", maxLength: 20 }),
          kernel: fc.integer({ min: 1, max: 9 }),
          incarnation: fc.string({ unit: "grapheme-ascii", maxLength: 20 }),
          toKernel: fc.integer({ min: 1, max: 9 }),
          toIncarnation: fc.string({ unit: "grapheme-ascii", maxLength: 20 }),
          protocolMin: fc.integer({ min: 0, max: 4 }),
          protocol: fc.integer({ min: 0, max: 4 }),
        },
        { requiredKeys: [] },
      ),
      (changes) => {
        const [lab, a, b] = Lab.pair();
        const wire = new LabWire();
        const connection = a.proxies.accept(wire, trusting)!;
        const hello = helloOf(b.channel(1).hello(1), changes);
        connection.onData(encodeLink(hello));
        const right = helloOf(b.channel(1).hello(1), {});
        const same = (["instance", "kernel", "incarnation", "toKernel", "toIncarnation"] as const).every(
          (field) => hello[field] === right[field],
        );
        const speaks = hello.protocol >= 1 && hello.protocolMin <= 1;
        const answer = decodeLink(wire.sent[0]!, 4, wire.sent[0]!.length).name;
        deepStrictEqual(
          [answer, connection.isClosed],
          same && speaks ? ["welcome", false] : ["refuse", true],
        );
        lab.tick();
      },
    ),
  },
  {
    name: "frames that are replayed, left out or damaged never deliver twice or out of order",
    share: 0.07,
    property: fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 12 }), fc.option(damage, { freq: 8 })), { maxLength: 30 }),
      (frames) => {
        const [lab, a, b] = Lab.pair();
        lab.run(60);
        const link = b.channel(1).link!;
        const good = Array.from({ length: 12 }, (_, i) => i + 1);
        const stream = framesOf(good.map((n) => (n % 4 === 0 ? reply(n) : taken(n))));
        const cut: Uint8Array[] = [];
        new FrameReader().feed(stream, {
          onFrame: (_kind, bytes, start, end) => cut.push(bytes.slice(start - 4, end)) > 0,
        });
        const fed = frames.map(([n, spoil]) => (spoil ? spoil(cut[n - 1]!) : cut[n - 1]!));
        for (const bytes of fed) link.onData(bytes);
        const whole = b.received.filter((each) => each[0] === taken(1)[0] || each[0] === reply(1)[0]);
        if (frames.every(([, spoil]) => spoil === null)) {
          deepStrictEqual(b.numbers(), good.slice(0, whole.length));
        }
        if (b.channel(1).received !== b.received.filter((each) => !isLoose(each)).length)
          throw new Error("counted wrong");
        a.proxies.close();
      },
    ),
  },
];

function reply(number: number): KernelMessage {
  return [messageTable.reply.number, source, number, 1, { number }];
}
function isLoose(each: KernelMessage): boolean {
  return wireRows[each[0]]!.lossy;
}

function helloOf(hello: Hello, changes: Partial<Hello>): Hello {
  return { ...hello, nonce: new Uint8Array(16), ...changes };
}

/** A view of a frame is only good until it is delivered. */
function kept(each: KernelMessage): KernelMessage {
  return each.map((value) =>
    value instanceof Uint8Array ? value.slice() : value,
  ) as unknown as KernelMessage;
}

function decodeOrRefuse(bytes: Uint8Array): void {
  const frame = bytes.subarray(0, messageBytesMax);
  let decoded: KernelMessage;
  try {
    decoded = decodeMessage(frame, 0, frame.length);
  } catch (e) {
    if (e instanceof Malformed) return;
    throw e;
  }
  const row: MessageRow = messageTable[messageNames[decoded[0]]!];
  if (decoded.length !== row.fields.length + 1) throw new Error(`${decoded.length - 1} fields`);
  for (const [i, [name, kind]] of row.fields.entries()) {
    if (!isRight(kind, decoded[i + 1])) throw new Error(`${name} ${String(decoded[i + 1])}`);
  }
  const size = sizeOf(decoded);
  if (size > 2 * frame.length + 16) throw new Error(`${size} parts out of ${frame.length} bytes`);
}

const isUint = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
const rules: Record<FieldKind, (value: unknown) => boolean> = {
  endpoint: isEndpoint,
  kernel: (value) => isUint(value) && value !== 0,
  uint: isUint,
  timeMs: (value) => Number.isFinite(value) && (value as number) >= 0,
  group: (value) => isUint(value) && (value as number) < groupsMax,
  body: () => true,
  bytes: (value) => value instanceof Uint8Array && value.length <= copyFrameBytes,
  outcome: (value) => Object.hasOwn(outcomes, value as string),
  flag: (value) => value === 0 || value === 1,
  calls: (value) => Array.isArray(value) && value.length % 2 === 0 && value.every(isUint),
  states: (value) => Array.isArray(value) && value.every((n) => isUint(n) && n <= 3),
};
function isRight(kind: FieldKind, value: unknown): boolean {
  return rules[kind](value);
}

/** Numbers, characters, bytes and elements. */
function sizeOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (value instanceof Uint8Array) return value.length;
  if (Array.isArray(value)) return value.length + value.reduce<number>((n, item) => n + sizeOf(item), 0);
  if (typeof value !== "object" || value === null) return 1;
  return Object.entries(value).reduce((n, [key, item]) => n + key.length + sizeOf(item), 1);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { cases: { type: "string", default: "100000" }, seed: { type: "string" } },
  });
  const began = performance.now();
  let total = 0;
  for (const { name, share, property } of properties) {
    const numRuns = Math.ceil(Number(values.cases) * share);
    fc.assert(property, { numRuns, ...(values.seed ? { seed: Number(values.seed) } : {}) });
    total += numRuns;
    console.log(`${String(numRuns).padStart(8)}  ${name}`);
  }
  const seconds = (performance.now() - began) / 1_000;
  console.log(
    `${total} cases passed in ${seconds.toFixed(1)} s, at most ${process.resourceUsage().maxRSS >> 10} MiB`,
  );
}
