/** Errors as answers: the body of core/errors.ts with the status of its code. */
import type { Env, Hono } from "hono";
import { DvsError } from "../../errors.ts";
import { toDvsError } from "../../store/errors.ts";

/** What is a defect goes into the log too, with where it comes from. */
export function errorAnswers<E extends Env>(
  app: Hono<E>,
  log: (level: "error", message: string) => void,
): void {
  app.onError((e, c) => {
    const error = toDvsError(e);
    if (error.code === "INTERNAL") log("error", `${c.req.method} ${c.req.path}: ${e.stack ?? e.message}`);
    return errorResponse(error);
  });
  app.notFound((c) =>
    errorResponse(new DvsError("NOT_FOUND", `There is no ${c.req.method} ${c.req.path} in this API.`)),
  );
}

export function errorResponse(error: DvsError): Response {
  return Response.json(error.toBody(), {
    status: error.status,
    headers: error.retry ? { "retry-after": "1" } : {},
  });
}
