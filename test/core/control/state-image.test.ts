/** Files of an instance's state may begin with those of its image. */
import { expect, test } from "bun:test";
import { all, bench } from "./bench.ts";

test("a node that keeps a replica is told which image it needs for it", () => {
  const b = bench(3);
  const image = `sha256:${"a".repeat(64)}`;
  const state = { replicas: 2, minInSync: 1, durability: "fsync" as const, replaceAfterMs: 60_000 };
  b.instance("site", { os: "web", nodes: 3, image, state });
  const told = all.slice(0, 3).map((node) => b.desired(node)?.replicas.map((replica) => replica.image) ?? []);
  expect(told).toEqual([[image], [image], []]);
});
