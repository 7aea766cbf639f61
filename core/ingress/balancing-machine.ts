/**
 * Which upstream gets a request. Pure machine: no I/O, no clock; the caller keeps the turn.
 *
 * A local healthy container first, since it costs no network; else the healthy ones in turn. What is not healthy gets
 * nothing while others carry the load. But a judgement of ours may be wrong, most of all when it falls on many at
 * once: if none is healthy, or those that are cannot carry the load and are the minority, all take turns that may be
 * alive, rather than one after the other being drowned.
 */
import type { HealthStatus } from "./health-machine.ts";

export interface Candidate {
  readonly local: boolean;
  readonly health: {
    readonly status: HealthStatus;
    /** The last bad sign was silence, which a machine without time to answer gives, too. */
    readonly silent: boolean;
    /** Since when it has its status. */
    readonly since: number;
  };
}

/** Kept by the caller, one for each instance. */
export interface Turn {
  next: number;
}

/**
 * What an upstream has for a request: what it needs, now; not now, but worth waiting for; nothing, being full, so
 * that others may help out; nothing, whatever happens.
 */
export type Reach = "now" | "later" | "full" | "never";

/** One that failed longer ago than this did not fail together with the others. */
const fellTogetherMs = 10_000;

/** Returns one whose reach is `now`; null when there is none, or when a better one is worth waiting for. */
export function choose<T extends Candidate>(
  upstreams: readonly T[],
  turn: Turn,
  reach: (upstream: T) => Reach,
  now: { crowded: boolean; nowMs: number },
): T | null {
  let healthy = 0;
  let reachable = 0;
  let local: Reach = "never";
  for (const upstream of upstreams) {
    if (!isHealthy(upstream)) continue;
    healthy++;
    const r = reach(upstream);
    if (r === "never") continue;
    reachable++;
    if (!upstream.local) continue;
    if (r === "now") return upstream;
    local = r;
  }
  if (reachable === 0 || (now.crowded && healthy * 2 < upstreams.length)) {
    const alive = upstreams.some((u) => reach(u) !== "never" && mayBeAlive(u, now.nowMs));
    return take(upstreams, turn, (u) => reach(u) === "now" && (!alive || mayBeAlive(u, now.nowMs)));
  }
  if (local === "later") return null;
  return take(upstreams, turn, (u) => isHealthy(u) && reach(u) === "now");
}

/** Nothing speaks against it: what was not tested yet is innocent. */
export function isHealthy({ health: { status } }: Candidate): boolean {
  return status === "healthy" || status === "untested";
}

function mayBeAlive({ health: { status, silent, since } }: Candidate, nowMs: number): boolean {
  return status !== "failed" || (silent && nowMs - since <= fellTogetherMs);
}

function take<T>(upstreams: readonly T[], turn: Turn, fits: (upstream: T) => boolean): T | null {
  const n = upstreams.length;
  const first = n > 0 ? Math.max(0, turn.next) % n : 0;
  for (let distance = 0; distance < n; distance++) {
    const i = (first + distance) % n;
    if (!fits(upstreams[i]!)) continue;
    turn.next = (i + 1) % n;
    return upstreams[i]!;
  }
  return null;
}
