import { expect, test } from "bun:test";
import { SlewedClock } from "../../../core/state/slewed-clock.ts";

function clock(): {
  clock: SlewedClock;
  at: { steadyMs: number; wallMs: number };
  pass: (ms: number) => number;
} {
  const at = { steadyMs: 5, wallMs: 1_000_000 };
  const slewed = new SlewedClock(
    () => at.steadyMs,
    () => at.wallMs,
  );
  const pass = (ms: number): number => {
    at.steadyMs += ms;
    at.wallMs += ms;
    return slewed.nowMs();
  };
  return { clock: slewed, at, pass };
}

test("without jumps it is the time of day", () => {
  const { pass, at } = clock();
  for (let i = 0; i < 100; i++) expect(pass(7)).toBe(at.wallMs);
});

test("a clock that is set ahead or back is followed slowly: no second of it is longer or shorter by more than half a percent", () => {
  for (const jumpMs of [3_600_000, -3_600_000, 3]) {
    const { pass, at } = clock();
    at.wallMs += jumpMs;
    let before = pass(0);
    for (let i = 0; i < 1_000; i++) {
      const now = pass(100);
      expect(Math.abs(now - before - 100)).toBeLessThanOrEqual(1);
      before = now;
    }
    if (jumpMs === 3) expect(before).toBe(at.wallMs);
    else expect(Math.abs(before - at.wallMs)).toBeLessThan(Math.abs(jumpMs));
  }
});

test("it never goes back, also when the steady clock seems to", () => {
  const { clock: slewed, at, pass } = clock();
  const before = pass(50);
  at.steadyMs -= 20;
  at.wallMs -= 1_000;
  expect(slewed.nowMs()).toBe(before);
});
