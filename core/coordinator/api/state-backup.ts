/** The OS state of an instance as one stream, from and to the replica that serves it, by way of its node's agent. */
import { Hono } from "hono";
import type { InstanceView, ReplicaView } from "../../api/views.ts";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { RestoreAnswer } from "../../state/backup/answer.ts";
import { defaultTenant } from "../../names.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { needs } from "./auth.ts";

const binary = { headers: { "content-type": "application/octet-stream" } };

export function stateBackupRoutes({ controller, sessions }: Coordinator) {
  const app = new Hono<ApiEnv>();
  const find = (name: string): InstanceView => {
    const view = controller.instanceView(defaultTenant, name);
    if (view) return view;
    throw new DvsError("NOT_FOUND", `There is no instance ${JSON.stringify(name)}. See: dvs instance ls`);
  };

  // All that the instance keeps: not for those who may only look.
  app.get("/v1/instances/:name/backup", needs("operator"), async (c) => {
    const view = find(c.req.param("name"));
    const primary = primaryOf(view, "back up");
    return new Response(await sessions.backup(primary.node, view.uid, c.req.raw.signal), binary);
  });

  app.post("/v1/instances/:name/restore", needs("operator"), async (c) => {
    const view = find(c.req.param("name"));
    if (!c.req.raw.body) throw new DvsError("INVALID", "A restore needs a backup in its body.");
    const primary = primaryOf(view, "restore");
    const said = await sessions.restore(primary.node, view.uid, c.req.raw.body, c.req.raw.signal);
    const json = JSON.parse(await new Response(said).text()) as unknown;
    if (json !== null && typeof json === "object" && "error" in json) throw DvsError.fromBody(json);
    return c.json(parseOrThrow(RestoreAnswer, json, "answer of the node"));
  });
  return app;
}

/** Throws INVALID where there is no state, UNAVAILABLE where nobody serves it. */
function primaryOf({ name, spec, state }: InstanceView, what: string): ReplicaView {
  if (!state)
    throw new DvsError("INVALID", `Cannot ${what} instance "${name}": OS ${spec.os} keeps no state.`);
  const primary = state.replicas.find((r) => r.state === "ready" && r.serving && r.role === "primary");
  if (primary) return primary;
  throw new DvsError(
    "UNAVAILABLE",
    `Cannot ${what} the state of instance "${name}": no primary serves it now. See: dvs instance inspect ${name}`,
  );
}
