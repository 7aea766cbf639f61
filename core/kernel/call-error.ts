/** A call that was not carried out, as whoever awaits it meets it. */
import { DvsError, type ErrorCode } from "../errors.ts";
import { type Endpoint, formatEndpoint } from "./endpoint.ts";
import { type Outcome, outcomes } from "./outcome.ts";

const codes: Record<Exclude<Outcome, "OK">, ErrorCode> = {
  TIMED_OUT: "TIMEOUT",
  OUTCOME_UNKNOWN: "OUTCOME_UNKNOWN",
  CANCELLED: "FAILED",
  DIED: "UNAVAILABLE",
  NOT_BOUND: "NOT_FOUND",
  NOT_ALLOWED: "FORBIDDEN",
  TOO_LARGE: "TOO_LARGE",
  BAD_MESSAGE: "INVALID",
  DEADLOCK: "CONFLICT",
  BUSY: "EXHAUSTED",
  NOT_WAITING: "CONFLICT",
  NAME_TAKEN: "CONFLICT",
  NO_SLOTS: "EXHAUSTED",
  NO_GRANT: "FORBIDDEN",
  MOVED: "UNAVAILABLE",
  EXITED: "UNAVAILABLE",
};

export class CallError extends DvsError {
  readonly outcome: Exclude<Outcome, "OK">;

  /** `what` names the call: `sendrec`. */
  constructor(what: string, to: Endpoint | string, outcome: Exclude<Outcome, "OK">) {
    const target = typeof to === "number" ? `endpoint ${formatEndpoint(to)}` : to;
    super(codes[outcome], `Cannot ${what} ${target}: ${outcomes[outcome]} (${outcome})`);
    this.name = "CallError";
    this.outcome = outcome;
  }
}
