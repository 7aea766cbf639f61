/**
 * Whether a request whose upstream failed with it may be sent again. Pure machine. (One that was not sent waits in
 * line, see admission-machine.ts, and may go anywhere.)
 *
 * Safe is one case only: its method is idempotent (RFC 9110 section 9.2.2) and all its bytes are still here. Never because an upstream is slow: a retry of the slow makes it slower.
 */
import type { Method } from "./http/request-head.ts";

export interface Attempt {
  method: Method;
  /** How often the request was sent so far, at least 1. */
  attempts: number;
  /** A byte of the final response has gone to the client. */
  responded: boolean;
  /** Everything that the client sent of this request so far is kept. */
  kept: boolean;
}

export const attemptsMax = 2;

const idempotent: ReadonlySet<Method> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

export function isIdempotent(method: Method): boolean {
  return idempotent.has(method);
}

/** Null when it may, else the reason why not, which ends in the answer to the client. */
export function whyNotRetry(a: Attempt): string | null {
  if (a.responded) return "part of the response was sent already";
  if (a.attempts >= attemptsMax) return "the second attempt failed, too";
  if (!a.kept) return "its body was too large to keep, so it may or may not have been carried out";
  return isIdempotent(a.method) ? null : "it may or may not have been carried out";
}

export interface RetryBudgetLimits {
  /** Retries earned by each request: retries can add this share to the load, not more. */
  share: number;
  /** Retries earned by each second without any request, so that a quiet port can retry at all. */
  perSecond: number;
  /**
   * Retries in stock at the start and at most: what one upstream may hold when it dies. 2,000 requests/s over three
   * upstreams put 500 in the hands of one that stopped 750 ms ago, which is the longest that probes take to tell.
   */
  stockMax: number;
}

export class RetryBudget {
  readonly #limits: RetryBudgetLimits;
  #stock: number;
  #at: number;

  constructor(limits: RetryBudgetLimits, nowMs: number) {
    this.#limits = limits;
    this.#stock = limits.stockMax;
    this.#at = nowMs;
  }

  /** To be called for each request. */
  earn(): void {
    this.#stock = Math.min(this.#limits.stockMax, this.#stock + this.#limits.share);
  }

  /** True when a retry is in stock; takes it. */
  spend(nowMs: number): boolean {
    const earned = (Math.max(0, nowMs - this.#at) / 1000) * this.#limits.perSecond;
    this.#stock = Math.min(this.#limits.stockMax, this.#stock + earned);
    this.#at = nowMs;
    if (this.#stock < 1) return false;
    this.#stock--;
    return true;
  }
}
