/** When connections to an upstream are opened. Pure machine: clock and counts are arguments. */
import type { LoadLimits } from "./load-limits.ts";

export interface Connections {
  /** Established, tunnels aside. */
  open: number;
  connecting: number;
  healthy: boolean;
}

/** Whether one more may be opened now. */
export function mayOpen({ open, connecting, healthy }: Connections, limits: LoadLimits): boolean {
  if (open + connecting >= limits.upstreamConnectionsMax) return false;
  // One at a time tells whether it is back, and drowns nobody.
  if (!healthy) return connecting === 0;
  return connecting < (open >= limits.plentyOpen ? limits.connectingMaxOfPlenty : limits.connectingMax);
}

/** Counts requests; an instance that has few of them keeps no connections that it does not need. */
const requestsWarm = 20;
const requestsMax = 60;
const forgottenPerSecond = 2;

/**
 * How busy an instance is: warm after twenty requests within some seconds, and for twenty seconds after many; cold as
 * long as fewer than two a second come. A thousand quiet instances then cost no handshakes.
 */
export class Warmth {
  #stock = 0;
  #requests = 0;
  #at: number;

  constructor(nowMs: number) {
    this.#at = nowMs;
  }

  /** `requests`: all so far. */
  isWarm(requests: number, nowMs: number): boolean {
    const forgotten = (Math.max(0, nowMs - this.#at) / 1_000) * forgottenPerSecond;
    this.#stock = Math.min(requestsMax, Math.max(0, this.#stock + requests - this.#requests - forgotten));
    this.#requests = requests;
    this.#at = nowMs;
    return this.#stock >= requestsWarm;
  }
}
