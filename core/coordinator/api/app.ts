/** The people's API, put together: one file per noun beside this one. */
import { Hono } from "hono";
import { answering } from "../answering.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { authenticate, changesNeedOperator } from "./auth.ts";
import { backupRoutes } from "./backup.ts";
import { coordinatorJoinRoutes, coordinatorRoutes } from "./coordinators.ts";
import { errorAnswers } from "./errors.ts";
import { eventRoutes } from "./events.ts";
import { filesRoutes } from "./files.ts";
import { imageRoutes } from "./images.ts";
import { instanceRoutes } from "./instances.ts";
import { joinRoutes } from "./join.ts";
import { kvRoutes } from "./kv.ts";
import { nodeRoutes } from "./nodes.ts";
import { stateBackupRoutes } from "./state-backup.ts";
import { statusRoutes } from "./status.ts";
import { tokenRoutes } from "./tokens.ts";

export function apiApp(coordinator: Coordinator): (request: Request) => Promise<Response> {
  const app = new Hono<ApiEnv>();
  errorAnswers(app, coordinator.log);
  app.get("/healthz", (c) => c.text("ok\n"));
  app.route("/", joinRoutes(coordinator));
  app.route("/", coordinatorJoinRoutes(coordinator));
  // Before any route: what is not there is nobody's to know, and no body is read of somebody unknown.
  app.use("/v1/*", authenticate(coordinator), changesNeedOperator);
  app.route("/", statusRoutes(coordinator));
  app.route("/", tokenRoutes(coordinator));
  app.route("/", coordinatorRoutes(coordinator));
  app.route("/", backupRoutes(coordinator));
  app.route("/", nodeRoutes(coordinator));
  app.route("/", instanceRoutes(coordinator));
  app.route("/", stateBackupRoutes(coordinator));
  app.route("/", kvRoutes(coordinator));
  app.route("/", filesRoutes(coordinator));
  app.route("/", imageRoutes(coordinator));
  app.route("/", eventRoutes(coordinator));
  return answering((request) => app.fetch(request));
}
