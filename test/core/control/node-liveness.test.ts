import { expect, test } from "bun:test";
import { NodeLiveness } from "../../../core/control/node-liveness.ts";

const limits = { nodeDownMs: 2_000, replaceAfterMs: 30_000 };

function known(): NodeLiveness {
  const liveness = new NodeLiveness(limits, 1_000);
  liveness.add("n1");
  return liveness;
}

test("a node that was never heard of is unknown, and down after nodeDownMs", () => {
  const liveness = known();
  expect(liveness.state("n1")).toBe("unknown");
  expect(liveness.tick(2_999, 0)).toEqual([]);
  expect(liveness.tick(3_000, 0)).toEqual([{ id: "n1", to: "down", from: "unknown" }]);
});

test("a node is down after nodeDownMs without a heartbeat and up with the next one", () => {
  const liveness = known();
  expect(liveness.hear("n1", 1_500)).toEqual({ id: "n1", to: "up", from: "unknown" });
  expect(liveness.hear("n1", 2_000)).toBeNull();
  expect(liveness.tick(3_999, 0)).toEqual([]);
  expect(liveness.tick(4_000, 0)).toEqual([{ id: "n1", to: "down", from: "up" }]);
  expect(liveness.tick(4_100, 0)).toEqual([]);
  expect(liveness.hear("n1", 4_200)).toEqual({ id: "n1", to: "up", from: "down" });
});

test("a node is lost after replaceAfterMs, once, and no longer when it returns", () => {
  const liveness = known();
  liveness.hear("n1", 1_000);
  liveness.tick(3_000, 0);
  expect(liveness.tick(30_999, 0)).toEqual([]);
  expect(liveness.tick(31_000, 0)).toEqual([{ id: "n1", to: "lost", from: "down" }]);
  expect(liveness.tick(32_000, 0)).toEqual([]);
  expect(liveness.lost("n1")).toBe(true);
  liveness.hear("n1", 33_000);
  expect(liveness.lost("n1")).toBe(false);
});

test("nobody is suspected for time in which this process itself did not run", () => {
  const liveness = known();
  liveness.hear("n1", 1_500);
  // Stopped for a minute: the tick that comes late says so.
  expect(liveness.tick(61_600, 60_000)).toEqual([]);
  expect(liveness.state("n1")).toBe("up");
  expect(liveness.tick(63_400, 0)).toEqual([]);
  expect(liveness.tick(63_500, 0)).toEqual([{ id: "n1", to: "down", from: "up" }]);
});

test("a heartbeat that was handled before the stall was counted gives no credit for the future", () => {
  const liveness = known();
  liveness.hear("n1", 61_000);
  liveness.tick(61_100, 60_000);
  expect(liveness.tick(63_000, 0)).toEqual([]);
  expect(liveness.tick(63_100, 0)).toEqual([{ id: "n1", to: "down", from: "up" }]);
});

test("when a node was last seen is told in the caller's own time", () => {
  const liveness = known();
  expect(liveness.lastSeenMs("n1", 5_000)).toBeNull();
  liveness.hear("n1", 1_500);
  expect(liveness.lastSeenMs("n1", 1_700)).toBe(200);
});

test("a node nobody knows is down and lost", () => {
  const liveness = known();
  liveness.remove("n1");
  expect([liveness.state("n1"), liveness.lost("n1"), liveness.hear("n1", 2_000)]).toEqual([
    "down",
    true,
    null,
  ]);
});
