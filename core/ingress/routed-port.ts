/** What a published port leads to, as its client connections see it. */
import type { Admission } from "./admission-machine.ts";
import type { RetryBudget } from "./retry-machine.ts";
import type { Upstream } from "./upstream.ts";

export interface Counters {
  requests: number;
  /** Requests that ended in an error of ingress's own: 502, 503, a broken response. */
  failures: number;
  retries: number;
}

export interface RoutedPort {
  readonly port: number;
  /** False: finish what is under way, take nothing new. */
  readonly open: boolean;
  /** The instance's upstreams, and the requests that wait for them. */
  readonly admission: Admission<Upstream>;
  /** Why there is no upstream at all, for people. */
  readonly nothingReason: string;
  readonly budget: RetryBudget;
  readonly counters: Counters;
  /** Milliseconds on this host process's own clock. */
  now(): number;
}
