/** Records as bytes, and the table of epochs. */
import { describe, expect, test } from "bun:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import * as fc from "fast-check";
import { crc32 } from "../../../core/replica/crc32.ts";
import { EpochTable } from "../../../core/replica/epoch-table.ts";
import {
  decodeRecords,
  joinRecords,
  RecordEncoder,
  type RecordFields,
  recordKinds,
} from "../../../core/replica/record.ts";

const fields = (index: number, operation = new Uint8Array([1, 2, 3])): RecordFields => ({
  epoch: 7,
  index,
  kind: recordKinds.operation,
  timeMs: 1_800_000_000_123,
  random: new Uint8Array(16).fill(9),
  client: "kernel-1",
  sequence: 2 ** 40,
  ackedBelow: 2 ** 40 - 1,
  module: "kv",
  operation,
});

test("crc32 is zlib's, from any position on", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), fc.nat(2 ** 32 - 1), (bytes, at, begun) => {
      const from = Math.min(at, bytes.length);
      const rest = bytes.subarray(from);
      expect(crc32(rest, begun)).toBe(zlibCrc32(rest, begun));
    }),
  );
});

describe("records", () => {
  test("are the same whoever computes their checksums", () => {
    const own = new RecordEncoder().encode(fields(1));
    const given = new RecordEncoder(zlibCrc32).encode(fields(1));
    expect(given.bytes).toEqual(own.bytes);
    expect(decodeRecords(own.bytes, zlibCrc32)[0]!.bytes).toEqual(decodeRecords(given.bytes)[0]!.bytes);
    expect(() => decodeRecords(own.bytes, () => 0)).toThrow(/checksum/);
  });

  test("come back as they were, and behind one another without a copy", () => {
    const encoder = new RecordEncoder();
    const records = [1, 2, 3].map((index) => encoder.encode(fields(index, new Uint8Array(index * 100))));
    const joined = joinRecords(records);
    expect(joined.buffer).toBe(records[0]!.bytes.buffer);
    const decoded = decodeRecords(joined);
    for (const [i, record] of decoded.entries()) {
      const { epoch, index, kind, timeMs, random, client, sequence, ackedBelow, module, operation } = record;
      expect({ epoch, index, kind, timeMs, random, client, sequence, ackedBelow, module, operation }).toEqual(
        fields(i + 1, new Uint8Array((i + 1) * 100)),
      );
    }
  });

  test("of several blocks are joined by a copy", () => {
    const encoder = new RecordEncoder();
    const records = [1, 2, 3].map((index) => encoder.encode(fields(index, new Uint8Array(40_000))));
    expect(decodeRecords(joinRecords(records)).map((record) => record.index)).toEqual([1, 2, 3]);
  });

  test("with any bit flipped, or cut off anywhere, are refused", () => {
    const { bytes } = new RecordEncoder().encode(fields(1));
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const copy = bytes.slice();
        copy[bit >> 3]! ^= 1 << (bit & 7);
        expect(() => decodeRecords(copy)).toThrow(/Cannot read records/);
      }),
    );
    for (let end = 1; end < bytes.length; end++) expect(() => decodeRecords(bytes.slice(0, end))).toThrow();
  });

  test("with a gap are refused", () => {
    const encoder = new RecordEncoder();
    const records = [encoder.encode(fields(1)), encoder.encode(fields(3))];
    expect(() => decodeRecords(joinRecords(records))).toThrow(/index 3 after 1/);
  });
});

test("the table of epochs says what a list of all would", () => {
  const operation = fc.oneof(
    fc.record({ type: fc.constant("append" as const), newEpoch: fc.boolean() }),
    fc.record({ type: fc.constant("truncate" as const), by: fc.nat(4) }),
    fc.record({ type: fc.constant("discard" as const), to: fc.nat(4) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const table = new EpochTable({ epoch: 0, index: 0 }, []);
      const list: number[] = [0];
      let base = 0;
      let epoch = 1;
      for (const op of operations) {
        const last = list.length - 1;
        if (op.type === "append") {
          if (op.newEpoch) epoch++;
          table.append(list.length, epoch);
          list.push(epoch);
        } else if (op.type === "truncate") {
          const to = Math.max(base, last - op.by);
          table.truncateAfter(to);
          list.length = to + 1;
          epoch++;
        } else {
          base = Math.min(last, base + op.to);
          table.discardTo(base);
        }
      }
      const last = list.length - 1;
      for (let i = base; i <= last; i++) expect(table.at(i)).toBe(list[i]!);
      expect(table.lastEpoch).toBe(list[last]!);
      for (let e = 0; e <= epoch; e++) {
        for (let limit = base; limit <= last; limit++) {
          let i = limit;
          while (i > base && list[i]! > e) i--;
          expect(table.lastNotAbove(e, limit, last)).toEqual({ epoch: list[i]!, index: i });
        }
      }
    }),
  );
});
