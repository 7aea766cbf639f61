/** The people's API, put together: one file per noun beside this one. */
import { Hono } from "hono";
import { DvsError } from "../../errors.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { authenticate } from "./auth.ts";
import { errorResponse } from "./errors.ts";
import { eventRoutes } from "./events.ts";
import { imageRoutes } from "./images.ts";
import { instanceRoutes } from "./instances.ts";
import { joinRoutes } from "./join.ts";
import { nodeRoutes } from "./nodes.ts";
import { statusRoutes } from "./status.ts";
import { tokenRoutes } from "./tokens.ts";

export function apiApp(coordinator: Coordinator) {
  const app = new Hono<ApiEnv>();
  app.onError((e) => errorResponse(e));
  app.notFound((c) =>
    errorResponse(new DvsError("NOT_FOUND", `There is no ${c.req.method} ${c.req.path} in this API.`)),
  );
  app.get("/healthz", (c) => c.text("ok\n"));
  app.route("/", joinRoutes(coordinator));
  app.use("/v1/*", authenticate(coordinator));
  app.route("/", statusRoutes(coordinator));
  app.route("/", tokenRoutes(coordinator));
  app.route("/", nodeRoutes(coordinator));
  app.route("/", instanceRoutes(coordinator));
  app.route("/", imageRoutes(coordinator));
  app.route("/", eventRoutes(coordinator));
  return app;
}
