import { describe, expect, test } from "bun:test";
import { Warmth, mayOpen } from "../../../core/ingress/connecting-machine.ts";
import { loadLimits as limits } from "../../../core/ingress/load-limits.ts";

/** How many are being established when each one that may be opened is. */
function opens(open: number, healthy = true): number {
  let connecting = 0;
  while (connecting < 10_000 && mayOpen({ open, connecting, healthy }, limits)) connecting++;
  return connecting;
}

describe("connections being established at once", () => {
  test("are few", () => expect(opens(0)).toBe(8));
  test("are fewer where there are plenty", () =>
    expect([opens(63), opens(64), opens(900)]).toEqual([8, 2, 2]));
  test("never exceed the bound of all", () => expect([opens(1_023), opens(1_024)]).toEqual([1, 0]));
  test("are one where it is doubtful that they come about", () => expect(opens(0, false)).toBe(1));
});

describe("an instance", () => {
  /** Requests in each second; returns the seconds after which it was warm. */
  const warmAt = (perSecond: number[]) => {
    const warmth = new Warmth(0);
    let requests = 0;
    return perSecond.flatMap((n, second) => {
      requests += n;
      return warmth.isWarm(requests, (second + 1) * 1_000) ? [second] : [];
    });
  };

  test("with two requests a second never gets warm", () => {
    expect(warmAt(Array<number>(1_000).fill(2))).toEqual([]);
  });
  test("is warm at once when many come, and for twenty seconds after", () => {
    expect(warmAt([0, 500, ...Array<number>(30).fill(0)])).toEqual(
      Array.from({ length: 21 }, (_, i) => i + 1),
    );
  });
  test("gets warm slowly by a few", () => expect(warmAt([5, 5, 5, 5, 5, 5, 5, 5])).toEqual([6, 7]));
});
