/**
 * Which upstream gets a request. Pure machine: no I/O, no clock; the caller keeps the turn.
 *
 * A local healthy container first, since it costs no network; else the healthy ones in turn; if none is healthy the
 * least suspicious, because a judgement of ours may be wrong and an error certainly is one.
 */
import type { HealthStatus } from "./health-machine.ts";

export interface Candidate {
  readonly local: boolean;
  readonly health: { readonly status: HealthStatus; readonly failedInRow: number };
}

/** Kept by the caller, one for each route. */
export interface Turn {
  next: number;
}

/** Returns one of `upstreams`, never one for which `excluded` is true; null when there is none to try. */
export function choose<T extends Candidate>(
  upstreams: readonly T[],
  turn: Turn,
  excluded: (upstream: T) => boolean,
): T | null {
  const n = upstreams.length;
  let best: T | null = null;
  let bestBadness = Infinity;
  let bestDistance = 0;
  const first = n > 0 ? turn.next % n : 0;
  for (let distance = 0; distance < n; distance++) {
    const upstream = upstreams[(first + distance) % n]!;
    if (excluded(upstream)) continue;
    const badness = badnessOf(upstream);
    if (badness >= bestBadness) continue;
    best = upstream;
    bestBadness = badness;
    bestDistance = distance;
    if (badness === 0) break;
  }
  // A local choice takes no turn of the others.
  if (best !== null && !best.local) turn.next = (first + bestDistance + 1) % n;
  return best;
}

/** 0 a healthy local, 1 a healthy other, then by suspicion. */
function badnessOf({ local, health }: Candidate): number {
  const place = local ? 0 : 1;
  if (health.status === "untested" || health.status === "healthy") return place;
  if (health.status === "suspect") return 2 + place;
  return 4 + 2 * Math.min(health.failedInRow, 1_000) + place;
}
