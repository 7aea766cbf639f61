/** The OS state of an instance as one stream, from and to the replica that serves it, by way of its node's agent. */
import { setTimeout as sleep } from "node:timers/promises";
import { Hono } from "hono";
import type { InstanceView, ReplicaView } from "../../api/views.ts";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { RestoreAnswer } from "../../state/backup/answer.ts";
import { defaultTenant } from "../../names.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { needs } from "./auth.ts";

/** An answer that takes longer is begun with something: below the time that a connection to the API may be idle. */
const quietMs = 30_000;
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
    const { body, ended } = watched(c.req.raw.body);
    const answer = (async () => {
      const said = await sessions.restore(primary.node, view.uid, body, c.req.raw.signal);
      const text = await new Response(said).text().catch((cause: unknown) => {
        const message = `Nobody knows whether the state of instance "${view.name}" was restored: the agent of node "${primary.nodeName}" is gone. Look before you try again.`;
        throw new DvsError("OUTCOME_UNKNOWN", message, { cause });
      });
      const json = JSON.parse(text) as unknown;
      if (json !== null && typeof json === "object" && "error" in json) throw DvsError.fromBody(json);
      return parseOrThrow(RestoreAnswer, json, "answer of the node");
    })();
    const soon = await Promise.race([answer, ended.then(() => sleep(quietMs, null, { ref: false }))]);
    return soon ? c.json(soon) : slowJson(answer);
  });
  return app;
}

/** The same bytes; `ended` when all of them have been read. */
function watched(from: ReadableStream<Uint8Array>) {
  const ended = Promise.withResolvers<void>();
  const body = from.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({ flush: () => ended.resolve() }),
  );
  return { body, ended: ended.promise };
}

/**
 * An answer that takes longer than a connection may be idle: spaces, then the JSON, or the error in its place, since
 * the status is out by then.
 */
function slowJson(answer: Promise<unknown>): Response {
  const encoder = new TextEncoder();
  let timer: ReturnType<typeof setInterval>;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      timer = setInterval(() => controller.enqueue(encoder.encode(" ")), quietMs);
      const end = (json: unknown) => {
        clearInterval(timer);
        controller.enqueue(encoder.encode(JSON.stringify(json)));
        controller.close();
      };
      answer.then(end, (e: unknown) => end(DvsError.from(e).toBody())).catch(() => undefined);
    },
    cancel: () => clearInterval(timer),
  });
  return new Response(body, { headers: { "content-type": "application/json" } });
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
