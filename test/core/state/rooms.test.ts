import { expect, test } from "bun:test";
import { files } from "../../../core/files/module/files.ts";
import { MemoryBlocks } from "../../../core/files/module/memory-blocks.ts";
import { Malformed } from "../../../core/kernel/proxy/malformed.ts";
import { Rooms } from "../../../core/state/rooms.ts";
import { DatabaseSync } from "node:sqlite";
import { StateCluster } from "../../tools/state-cluster.ts";
import { statfsSync } from "node:fs";

test("there is as much room as the replica has that has least, of those that there are", () => {
  let own = 5_000.7;
  const rooms = new Rooms(() => own);
  expect(rooms.bytesFree).toBe(5_000);
  rooms.received("b", [58, 4_000]);
  rooms.received("c", [58, 6_000]);
  expect(rooms.bytesFree).toBe(4_000);
  rooms.received("b", [58, 9_000]);
  expect(rooms.bytesFree).toBe(5_000);
  own = Infinity;
  expect(rooms.message).toEqual([58, Number.MAX_SAFE_INTEGER]);
  rooms.keepOnly(new Set(["b"]));
  expect(rooms.bytesFree).toBe(9_000);
});

test("what is no number of bytes is malformed", () => {
  const rooms = new Rooms(() => 0);
  for (const bytes of [-1, 1.5, "1", null, undefined]) {
    expect(() => rooms.received("b", [58, bytes])).toThrow(Malformed);
  }
});

test("the volume's usage has the room of the disks; where nobody knows it, a replica is to be asked", async () => {
  const db = new DatabaseSync(":memory:");
  files.create(db);
  const blocks = Object.assign(new MemoryBlocks(), { bytesFree: (): number | null => 1_234 });
  const module = files.open(db, blocks);
  expect((module.read(["usage"]) as unknown[]).at(-1)).toBe(1_234);
  blocks.bytesFree = () => null;
  const asked = module.read(["usage"]) as Promise<unknown>;
  expect(await asked.catch((e: Error) => e.message)).toContain("not known here");
  db.close();
});

test("a client beside a replica learns what the disks have free", async () => {
  const cluster = await StateCluster.open({ replicas: 2 });
  try {
    for (const at of [0, 1]) {
      const { bavail, bsize, blocks } = statfsSync(cluster.dataDir(at));
      let { bytesFree } = await cluster.files(at).usage();
      // Until it has looked for the first time.
      while (bytesFree === Number.MAX_SAFE_INTEGER) ({ bytesFree } = await cluster.files(at).usage());
      // Others write and remove on this disk meanwhile.
      expect(bytesFree).toBeGreaterThan(0);
      expect(Math.abs(bytesFree - bavail * bsize)).toBeLessThan(0.2 * blocks * bsize + 4e9);
    }
  } finally {
    await cluster.close();
  }
});
