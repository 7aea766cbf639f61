/** Errors as answers: the body of core/errors.ts with the status of its code. */
import { DvsError } from "../../errors.ts";
import { dvsErrorOf } from "../../store/errors.ts";
import { StoreError } from "../../store/store.ts";

export function errorResponse(thrown: unknown): Response {
  const error = thrown instanceof StoreError ? dvsErrorOf(thrown) : DvsError.from(thrown);
  return Response.json(error.toBody(), {
    status: error.status,
    headers: error.retry ? { "retry-after": "1" } : {},
  });
}
