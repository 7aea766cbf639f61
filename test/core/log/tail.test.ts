/** The newest records in memory: as many bytes as were allowed, and no more are held by what was dropped. */
import { expect, test } from "bun:test";
import { Tail } from "../../../core/log/tail.ts";
import { MiB } from "../../../core/limits.ts";
import { RecordEncoder, recordKinds } from "../../../core/replica/record.ts";
import { ReplicaLog } from "../../../core/replica/replica-log.ts";
import type { ReplicaSink } from "../../../core/replica/sink.ts";

const held = () => {
  Bun.gc(true);
  return process.memoryUsage().arrayBuffers;
};

test("large records that were dropped are not kept", () => {
  const tail = new Tail(8 * MiB);
  const before = held();
  for (let index = 1; index <= 200; index++) {
    tail.push({ epoch: 1, index, bytes: new Uint8Array(new ArrayBuffer(MiB)) });
    tail.shrink(index);
  }
  expect(tail.firstIndex).toBeGreaterThan(190);
  expect(tail.read(195, 2 * MiB).map(({ index }) => index)).toEqual([195, 196]);
  expect(held() - before).toBeLessThan(30 * MiB);
  expect(tail.firstIndex).toBeGreaterThan(190);
});

test("nor by the machine's log", () => {
  const sink = { append: () => undefined } as unknown as ReplicaSink;
  const log = new ReplicaLog(sink, { base: { epoch: 0, index: 0 }, epochs: [], lastIndex: 0 });
  const encoder = new RecordEncoder();
  const before = held();
  for (let index = 1; index <= 300; index++) {
    const operation = new Uint8Array(MiB / 2);
    const record = encoder.encode({
      ...{ epoch: 1, index, kind: recordKinds.operation, timeMs: 1, random: new Uint8Array(16) },
      ...{ client: "", sequence: 0, ackedBelow: 0, module: "files", operation },
    });
    log.append([record]);
    log.setWritten(index);
    log.trim(index);
  }
  expect(log.get(300)?.index).toBe(300);
  expect(log.get(200)).toBeNull();
  expect(held() - before).toBeLessThan(50 * MiB);
});
