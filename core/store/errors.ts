/** The store's errors as people meet them: the one place that maps them. */
import { DvsError, type ErrorCode } from "../errors.ts";
import { StoreError, type StoreErrorCode } from "./store.ts";

const codes: Record<StoreErrorCode, ErrorCode> = {
  UNAVAILABLE: "UNAVAILABLE",
  UNKNOWN_OUTCOME: "OUTCOME_UNKNOWN",
  // The page that was asked for is of a state that is gone: list again.
  COMPACTED: "CONFLICT",
  LEASE_NOT_FOUND: "NOT_FOUND",
  INVALID: "INVALID",
  NO_SPACE: "EXHAUSTED",
};

export function dvsErrorOf(error: StoreError): DvsError {
  return new DvsError(codes[error.code], error.message, { cause: error });
}

/** Whatever was thrown, as a DvsError. */
export function toDvsError(thrown: unknown): DvsError {
  return thrown instanceof StoreError ? dvsErrorOf(thrown) : DvsError.from(thrown);
}
