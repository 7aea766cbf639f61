/**
 * Pure machine: when to ask for the next certificate. It is due after a third of its life, so that a coordinator
 * may be away for two thirds of it (20 of 30 days) before anything expires. Failures are tried again ever less
 * often, but at least eight times within a life. All times in milliseconds.
 */
import type { Validity } from "../trust/identity.ts";

export interface RenewalState {
  validity: Validity;
  /** Failed attempts since the last certificate. */
  failures: number;
  lastAttemptMs: number | null;
  /** 0 … 1, drawn once per certificate: nodes that joined together do not ask together. */
  jitter: number;
}

export type RenewalDecision = { act: "renew" } | { act: "wait"; ms: number };

const retryMinMs = 1_000;
const retryFirstMsMax = 60_000;
const retryMsMax = 60 * 60_000;
/** Timers stop with a suspended machine and clocks are set: look again at least this often. */
const lookMsMax = 10 * 60_000;

export function decideRenewal(state: RenewalState, nowMs: number): RenewalDecision {
  const dueMs = Math.max(firstDueMs(state), retryDueMs(state, nowMs));
  const ms = dueMs - nowMs;
  return ms <= 0 ? { act: "renew" } : { act: "wait", ms: Math.min(ms, lookMsMax) };
}

/** Up to a thirtieth of the life after the third: a day of 30. */
function firstDueMs({ validity, jitter }: RenewalState): number {
  return validity.renewAtMs + (jitter * lifeMs(validity)) / 30;
}

function retryDueMs({ validity, failures, lastAttemptMs, jitter }: RenewalState, nowMs: number): number {
  if (lastAttemptMs === null || failures === 0) return Number.NEGATIVE_INFINITY;
  // The clock was set back: the last attempt lies in the future and says nothing.
  if (lastAttemptMs > nowMs) return Number.NEGATIVE_INFINITY;
  const life = lifeMs(validity);
  const first = Math.min(Math.max(life / 100, retryMinMs), retryFirstMsMax);
  const most = Math.min(Math.max(life / 10, retryMinMs), retryMsMax);
  const backoff = Math.min(first * 2 ** Math.min(failures - 1, 20), most);
  return lastAttemptMs + backoff * (0.5 + jitter / 2);
}

/** From its issue on, of which `renewAtMs` is a third: `notBeforeMs` is dated back for clocks that are slow. */
function lifeMs({ renewAtMs, notAfterMs }: Validity): number {
  return (notAfterMs - renewAtMs) * 1.5;
}
