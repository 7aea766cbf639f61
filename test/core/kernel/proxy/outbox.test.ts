import { expect, test } from "bun:test";
import { messageTable } from "../../../../core/kernel/messages.ts";
import { decodeMessage } from "../../../../core/kernel/proxy/decode.ts";
import { FrameReader } from "../../../../core/kernel/proxy/frame-reader.ts";
import { Malformed } from "../../../../core/kernel/proxy/malformed.ts";
import { Outbox } from "../../../../core/kernel/proxy/outbox.ts";
import { wireRows } from "../../../../core/kernel/proxy/rows.ts";
import { skim } from "../../../../core/kernel/proxy/skim.ts";
import { frameBlockBytes, ownSegmentBytes } from "../../../../core/limits.ts";
import { LabWire, request, taken } from "./lab.ts";

function add(outbox: Outbox, message: ReturnType<typeof taken>): void {
  outbox.add(wireRows[message[0]]!, message);
}

/** Numbers of the messages that are on the wire. */
function sent(wire: LabWire): number[] {
  const numbers: number[] = [];
  const reader = new FrameReader();
  const user = {
    onFrame: (_kind: number, bytes: Uint8Array, start: number, end: number) =>
      numbers.push(decodeMessage(bytes, start + 4, end)[2] as number) > 0,
  };
  for (const bytes of wire.sent.splice(0)) reader.feed(bytes, user);
  return numbers;
}

test("frames that gather leave in one write; a big body leaves from where it lies", () => {
  const outbox = new Outbox();
  const wire = new LabWire();
  const body = new Uint8Array(ownSegmentBytes);
  for (let i = 1; i <= 10; i++) add(outbox, taken(i));
  add(outbox, request(11, body));
  add(outbox, taken(12));
  const written: Uint8Array[] = [];
  wire.write = (bytes, start, end) => {
    written.push(bytes);
    return LabWire.prototype.write.call(wire, bytes, start, end);
  };
  expect(outbox.sendTo(wire)).toBe(true);
  expect(written).toHaveLength(3);
  expect(written[1]).toBe(body);
  expect(sent(wire)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  expect(outbox.hasUnsent).toBe(false);
});

test("a trailer goes in the last message's write, and is not kept; behind a big body there is no room for it", () => {
  const outbox = new Outbox();
  const wire = new LabWire();
  const trailer = new Uint8Array(8).fill(3);
  add(outbox, taken(1));
  outbox.sendTo(wire, trailer);
  expect(outbox.trailed).toBe(true);
  expect(wire.sent).toHaveLength(1);
  expect(wire.sent.pop()!.subarray(-8)).toEqual(trailer);
  add(outbox, taken(2));
  outbox.sendTo(wire, trailer);
  wire.sent[0] = wire.sent[0]!.subarray(0, -8);
  expect(sent(wire)).toEqual([2]);
  outbox.rewind(0);
  outbox.sendTo(wire);
  expect(outbox.trailed).toBe(false);
  expect(sent(wire)).toEqual([1, 2]);
  add(outbox, request(3, new Uint8Array(ownSegmentBytes)));
  outbox.sendTo(wire, trailer);
  expect(outbox.trailed).toBe(false);
  expect(sent(wire)).toEqual([3]);
});

test("a wire that has enough gets the rest of a frame, and then nothing", () => {
  const outbox = new Outbox();
  const wire = new LabWire();
  wire.stuck = true;
  for (let i = 1; i <= 3; i++) add(outbox, request(i, new Uint8Array(50_000)));
  expect(outbox.sendTo(wire)).toBe(false);
  expect(outbox.hasUnsent).toBe(true);
  expect(sent(wire)).toEqual([1]);
});

test("after each number of messages a new connection begins right behind them", () => {
  for (let acknowledged = 0; acknowledged <= 40; acknowledged++) {
    for (let received = acknowledged; received <= 40; received += 3) {
      const outbox = new Outbox();
      for (let i = 1; i <= 40; i++) {
        add(outbox, i % 5 === 0 ? request(i, new Uint8Array(i % 10 === 0 ? 20_000 : 9_000)) : taken(i));
      }
      outbox.sendTo(new LabWire());
      outbox.acknowledge(acknowledged);
      expect(outbox.rewind(received)).toBe(true);
      add(outbox, taken(41));
      const wire = new LabWire();
      outbox.sendTo(wire);
      expect(sent(wire)).toEqual(Array.from({ length: 41 - received }, (_, i) => received + 1 + i));
    }
  }
});

test("what is acknowledged is given back, and its block is filled again from the start", () => {
  const outbox = new Outbox();
  const wire = new LabWire();
  let block: Uint8Array | undefined;
  for (let i = 1; i <= 100_000; i++) {
    add(outbox, taken(i));
    if (i % 50 !== 0) continue;
    wire.write = (bytes) => {
      block ??= bytes;
      expect(bytes).toBe(block);
      return true;
    };
    outbox.sendTo(wire);
    outbox.acknowledge(i);
    expect(outbox.bytes).toBe(0);
  }
});

test("what nobody has sent cannot be acknowledged", () => {
  const outbox = new Outbox();
  add(outbox, taken(1));
  expect(outbox.acknowledge(2)).toBe(false);
  expect(outbox.rewind(2)).toBe(false);
  expect(outbox.acknowledge(1)).toBe(true);
  expect(outbox.acknowledge(0)).toBe(true);
  expect(outbox.acknowledged).toBe(1);
});

test("blocks are bounded by what is kept, also when big and small messages take turns", () => {
  const outbox = new Outbox();
  const body = new Uint8Array(ownSegmentBytes);
  for (let i = 1; i <= 1_000; i++) add(outbox, i % 2 === 0 ? request(i, body) : taken(i));
  const blocks = new Set<ArrayBufferLike>();
  const wire = new LabWire();
  wire.write = (bytes) => {
    if (bytes !== body) blocks.add(bytes.buffer);
    return true;
  };
  outbox.sendTo(wire);
  const small = outbox.bytes - 500 * body.length;
  expect(blocks.size).toBeLessThanOrEqual(Math.ceil(small / (frameBlockBytes - 1_024)) + 1);
});

test("a count of messages beyond 32 bits goes on", () => {
  const outbox = new Outbox();
  outbox.added = 2 ** 32 - 2;
  outbox.acknowledged = outbox.added;
  for (let i = 1; i <= 4; i++) add(outbox, taken(i));
  const wire = new LabWire();
  outbox.sendTo(wire);
  const frame = wire.sent[0]!;
  const length = frame.length / 4;
  expect(
    [0, 1, 2, 3].map((i) => new DataView(frame.buffer).getUint32(frame.byteOffset + i * length + 4)),
  ).toEqual([2 ** 32 - 1, 0, 1, 2]);
});

for (const [what, bytes] of [
  ["an array that announces four thousand million elements", [0xdd, 0xff, 0xff, 0xff, 0xff, 1]],
  ["a map that announces more than there is", [0x84, 1, 2]],
  ["thirty-three arrays in each other", [...Array.from({ length: 33 }, () => 0x91), 1]],
  ["a text that is cut short", [0xa5, 65]],
  ["bytes that are cut short", [0xc6, 0, 0, 1, 0, 1]],
  ["an extension", [0xd6, 0xff, 0, 0, 0, 0]],
  ["the byte that msgpack never uses", [0xc1]],
  ["nothing", []],
] as const) {
  test(`a body is refused: ${what}`, () => {
    expect(() => skim(Uint8Array.from(bytes), 0, bytes.length)).toThrow(Malformed);
  });
}

test("a row with two long fields, or one that is not its last, would be found when the program starts", () => {
  for (const row of wireRows) if (row) expect(row.kinds.slice(0, -1).every((code) => code < 7)).toBe(true);
  expect(wireRows.filter((row) => row)).toHaveLength(Object.keys(messageTable).length);
});
