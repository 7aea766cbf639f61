/**
 * What ingress believes of one upstream. Pure machine: the clock is an argument, probes are effects.
 *
 *   untested ──good──▶ healthy ──connection failed, or a bad probe──▶ suspect ──probesFailedMax in a row──▶ failed
 *                         ▲──────────────── one good probe ─────────────┴──────────────────────────────────────┘
 *
 * Suspect: chosen last, and probed at once. Failed: its requests under way are tried elsewhere. The difference is
 * what a slow container costs it: one late answer only turns new requests away.
 *
 * A detector whose own loop was late may not hold that against others: each tick says how late it was, and open
 * deadlines move by as much.
 */
export type HealthStatus = "untested" | "healthy" | "suspect" | "failed";

export interface Health {
  status: HealthStatus;
  /** Since when. */
  since: number;
  /** The last bad sign was no answer in time. That is what a machine without time to answer gives, too. */
  silent: boolean;
  /** Why it is suspect or failed, in words. */
  reason: string;
  /** Bad probes since the last good one. */
  failedInRow: number;
  /** When the probe under way counts as failed; null when none is. */
  probeDeadline: number | null;
  nextProbeAt: number;
}

export interface HealthLimits {
  probeIntervalMs: number;
  probeTimeoutMs: number;
  probesFailedMax: number;
}

export type HealthEvent =
  | { type: "tick"; lateMs: number }
  | { type: "probeGood" }
  | { type: "probeBad"; reason: string }
  /** A connection was refused, reset or closed with a request on it, or, `silent`, not accepted in time. */
  | { type: "connectionFailed"; reason: string; silent?: boolean }
  /** An unused connection was closed by the upstream: often the first sign. */
  | { type: "connectionClosed" };

/** `probe`: send one now. `cancelProbe`: the one under way is too late. `failed`: it became so. */
export type HealthEffect = "probe" | "cancelProbe" | "failed" | "changed";

export function newHealth(nowMs: number): Health {
  return {
    status: "untested",
    since: nowMs,
    silent: false,
    reason: "",
    failedInRow: 0,
    probeDeadline: null,
    nextProbeAt: nowMs,
  };
}

export function stepHealth(
  health: Health,
  event: HealthEvent,
  nowMs: number,
  limits: HealthLimits,
): HealthEffect[] {
  switch (event.type) {
    case "tick":
      return stepTick(health, event.lateMs, nowMs, limits);
    case "probeGood":
      health.probeDeadline = null;
      health.failedInRow = 0;
      return become(health, "healthy", "", nowMs);
    case "probeBad":
      health.probeDeadline = null;
      health.silent = false;
      return handleBadProbe(health, event.reason, nowMs, limits);
    case "connectionFailed":
      health.nextProbeAt = nowMs;
      health.silent = event.silent ?? false;
      return health.status === "failed" ? [] : become(health, "suspect", event.reason, nowMs);
    case "connectionClosed":
      health.nextProbeAt = nowMs;
      return [];
  }
}

function stepTick(health: Health, lateMs: number, nowMs: number, limits: HealthLimits): HealthEffect[] {
  const effects: HealthEffect[] = [];
  if (health.probeDeadline !== null) {
    health.probeDeadline += lateMs;
    if (nowMs < health.probeDeadline) return effects;
    health.probeDeadline = null;
    health.silent = true;
    effects.push("cancelProbe");
    const reason = `it did not answer a probe within ${limits.probeTimeoutMs} ms`;
    effects.push(...handleBadProbe(health, reason, nowMs, limits));
    health.nextProbeAt = nowMs;
  }
  if (nowMs >= health.nextProbeAt) {
    health.probeDeadline = nowMs + limits.probeTimeoutMs;
    health.nextProbeAt = nowMs + limits.probeIntervalMs;
    effects.push("probe");
  }
  return effects;
}

function handleBadProbe(health: Health, reason: string, nowMs: number, limits: HealthLimits): HealthEffect[] {
  health.failedInRow++;
  return become(health, health.failedInRow >= limits.probesFailedMax ? "failed" : "suspect", reason, nowMs);
}

function become(health: Health, status: HealthStatus, reason: string, nowMs: number): HealthEffect[] {
  health.reason = reason;
  if (health.status === status) return [];
  // A suspicion does not lift a verdict.
  if (health.status === "failed" && status === "suspect") return [];
  health.status = status;
  health.since = nowMs;
  return status === "failed" ? ["failed", "changed"] : ["changed"];
}
