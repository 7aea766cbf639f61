/** Scrubbing of blocks goes on by itself, bit by bit, until it is stopped. */
import { expect, test } from "bun:test";
import type { OpenModule, ScrubRange } from "../../../core/state/module.ts";
import { startBlockScrub } from "../../../core/state/scrub-blocks.ts";

test("it looks at all ranges in their order, at the rate it was given, and repairs those that are not good", async () => {
  const bytes = 100_000;
  const read: number[] = [];
  const repaired: number[] = [];
  const steps: number[] = [];
  const range = (position: number): ScrubRange => ({
    segment: 1,
    position,
    length: bytes,
    isGood: (found) => found[0] !== 13,
  });
  const module = {
    scrub(after: unknown, max: number) {
      const from = Number(after ?? 0);
      steps.push(from);
      const count = Math.min(max, 100 - from);
      const ranges = Array.from({ length: count }, (_, i) => range(from + i));
      return { ranges, next: from + count < 100 ? from + count : null };
    },
  } as unknown as OpenModule;
  const beganMs = performance.now();
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = startBlockScrub({
    store: {
      read: (_, position) => {
        read.push(position);
        if (position === 99) resolve();
        if (position === 21) return Promise.reject(new Error("the file ends before"));
        return Promise.resolve(new Uint8Array([position]));
      },
    },
    modules: () => [module],
    isNeeded: () => true,
    repair: (_, position) => {
      repaired.push(position);
      return Promise.resolve(new Uint8Array(1));
    },
    bytesPerSecond: 100_000_000,
    firstMs: 1,
  });
  await promise;
  stop();
  expect(read).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(repaired).toEqual([13, 21]);
  expect(steps).toEqual([0, 64]);
  // 10 MB of 100 a second: never faster.
  expect(performance.now() - beganMs).toBeGreaterThan(80);
});
