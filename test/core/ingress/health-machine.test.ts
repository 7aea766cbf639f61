import { expect, test } from "bun:test";
import { type HealthEvent, newHealth, stepHealth } from "../../../core/ingress/health-machine.ts";

const limits = { probeIntervalMs: 250, probeTimeoutMs: 250, probesFailedMax: 2 };

/** Plays `time event` lines; returns `time effects status` for each that had effects. */
function play(script: string): string[] {
  const health = newHealth(0);
  const out: string[] = [];
  for (const line of script.trim().split("\n")) {
    const [at, type, arg] = line.trim().split(" ") as [string, string, string?];
    const event =
      type === "tick"
        ? { type, lateMs: Number(arg ?? 0) }
        : type === "probeBad" || type === "connectionFailed"
          ? { type, reason: arg ?? "it broke" }
          : { type };
    const effects = stepHealth(health, event as HealthEvent, Number(at), limits);
    if (effects.length > 0) out.push(`${at} ${effects.join("+")} ${health.status}`);
  }
  return out;
}

test("a new upstream is probed at once, and then each interval", () => {
  expect(
    play(`
      0 tick
      3 probeGood
      100 tick
      249 tick
      250 tick
      251 probeGood
      500 tick`),
  ).toEqual(["0 probe untested", "3 changed healthy", "250 probe healthy", "500 probe healthy"]);
});

test("a stopped upstream is suspect after one timeout and failed after two", () => {
  expect(
    play(`
      0 tick
      1 probeGood
      250 tick
      499 tick
      500 tick
      749 tick
      750 tick`),
  ).toEqual([
    "0 probe untested",
    "1 changed healthy",
    "250 probe healthy",
    "500 cancelProbe+changed+probe suspect",
    "750 cancelProbe+failed+changed+probe failed",
  ]);
});

test("a refused connection makes it suspect at once, and the next tick probes", () => {
  expect(
    play(`
      0 tick
      1 probeGood
      20 connectionFailed
      25 tick
      26 probeBad
      275 tick
      276 probeBad`),
  ).toEqual([
    "0 probe untested",
    "1 changed healthy",
    "20 changed suspect",
    "25 probe suspect",
    "275 probe suspect",
    "276 failed+changed failed",
  ]);
});

test("an unused connection that closes only brings the next probe forward", () => {
  expect(
    play(`
      0 tick
      1 probeGood
      20 connectionClosed
      25 tick`),
  ).toEqual(["0 probe untested", "1 changed healthy", "25 probe healthy"]);
});

test("one good probe lifts any suspicion", () => {
  expect(
    play(`
      0 tick
      1 probeBad
      250 tick
      251 probeBad
      500 tick
      501 probeGood`).slice(-2),
  ).toEqual(["500 probe failed", "501 changed healthy"]);
});

test("a failed connection does not turn a verdict into a suspicion", () => {
  expect(
    play(`
      0 tick
      1 probeBad
      250 tick
      251 probeBad
      260 connectionFailed
      510 tick
      511 probeBad`).slice(3),
  ).toEqual(["251 failed+changed failed", "510 probe failed"]);
});

test("what the detector's own loop was late by does not count", () => {
  expect(
    play(`
      0 tick
      1 probeGood
      250 tick
      1250 tick 975
      1300 probeGood`),
  ).toEqual(["0 probe untested", "1 changed healthy", "250 probe healthy"]);
});
