/** Instances: made, listed, watched, stopped, started, removed. The controller does the rest. */
import { Hono } from "hono";
import { LogName } from "../../agent-protocol.ts";
import { InstanceRequest, type InstancePage, RecoverRequest } from "../../api/schema.ts";
import type { InstanceView } from "../../api/views.ts";
import { setDesiredTxn } from "../../control/requests.ts";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { defaultTenant, Name } from "../../names.ts";
import { InstanceRecord, keys } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { watchInstances } from "../instance-watch.ts";
import { endpointLines } from "../endpoint-lines.ts";
import { instanceLog, linesOf, mergedLines } from "../log-lines.ts";
import { ndjson } from "../ndjson.ts";
import { eventStamp } from "../random.ts";
import { queryFlag, queryNumber, read } from "../read.ts";
import { createInstance } from "./create-instance.ts";
import { kernelsOf } from "./kernels-of.ts";
import { recoverInstance } from "./recover-instance.ts";

const tenant = defaultTenant;
const pageLimits = { fallback: 500, min: 1, max: 1_000 };
const endpointLimits = { fallback: 0, min: 1, max: Number.MAX_SAFE_INTEGER };
const traceLimits = { fallback: 1_000, min: 1, max: 100_000 };
const tailLimits = { fallback: 100, min: 0, max: 100_000 };

export function instanceRoutes(coordinator: Coordinator) {
  const { store, driver, controller, sessions, signal } = coordinator;
  const app = new Hono<ApiEnv>();

  const find = (name: string): InstanceView => {
    const view = controller.instanceView(tenant, name);
    if (!view) throw notFound(name);
    return view;
  };

  app.get("/v1/instances", (c) => {
    const limit = queryNumber(c.req.query("limit"), "limit", pageLimits);
    const after = c.req.query("after") ?? "";
    const rest = controller.instanceViews(tenant).filter((i) => i.name > after);
    const instances = rest.slice(0, limit);
    const next = rest.length > limit ? instances.at(-1)!.name : null;
    return c.json({ instances, next } satisfies InstancePage);
  });

  app.get("/v1/instances/watch", (c) =>
    ndjson(watchInstances(coordinator, tenant, c.req.query("name")), signal),
  );

  app.get("/v1/instances/:name", async (c) => {
    const view = find(c.req.param("name"));
    const kernels = await kernelsOf(coordinator, view);
    return c.json(kernels ? { ...view, kernels } : view);
  });

  app.post("/v1/instances", async (c) => {
    const request = await read(c, InstanceRequest, "instance");
    const view = await createInstance(coordinator, tenant, request, c.req.header("idempotency-key"));
    return c.json(view, 201);
  });

  /** Changes what is wanted, against the record as it is now; again when somebody else changed it meanwhile. */
  const want = async (name: string, desired: InstanceRecord["desired"]): Promise<InstanceView> => {
    for (;;) {
      const kv = await store.get(keys.instance(tenant, parseOrThrow(Name, name, "instance name")));
      if (!kv) throw notFound(name);
      await driver.seen(kv.modRevision);
      const record = InstanceRecord.parse(JSON.parse(kv.value));
      const before = controller.instanceView(tenant, name);
      if (!before) continue; // gone meanwhile
      if (record.desired === desired) return before;
      const result = await settleTxn(store, setDesiredTxn(record, kv.modRevision, desired, eventStamp()));
      await driver.seen(result.revision);
      // A removal may be complete already.
      if (result.succeeded)
        return controller.instanceView(tenant, name) ?? { ...before, phase: "removing", desired };
    }
  };
  app.delete("/v1/instances/:name", async (c) => c.json(await want(c.req.param("name"), "removed")));
  app.post("/v1/instances/:name/stop", async (c) => c.json(await want(c.req.param("name"), "stopped")));
  app.post("/v1/instances/:name/start", async (c) => c.json(await want(c.req.param("name"), "running")));

  app.post("/v1/instances/:name/recover", async (c) => {
    const { from, acceptLoss } = await read(c, RecoverRequest, "request");
    return c.json(await recoverInstance(coordinator, find(c.req.param("name")), { from, acceptLoss }));
  });

  app.get("/v1/instances/:name/logs", (c) => {
    const { uid, name, containers } = find(c.req.param("name"));
    const node = c.req.query("node");
    const chosen = containers.filter((i) => node === undefined || i.nodeName === node || i.node === node);
    if (node !== undefined && chosen.length === 0) {
      throw new DvsError("NOT_FOUND", `Instance "${name}" has no container on node ${JSON.stringify(node)}.`);
    }
    const tailLines = queryNumber(c.req.query("tail"), "tail", tailLimits);
    const follow = queryFlag(c.req.query("follow"), "follow");
    const file = parseOrThrow(LogName, c.req.query("file") ?? "container", "file");
    return ndjson(instanceLog(sessions, chosen, { uid, file, tailLines, follow }), signal);
  });

  app.get("/v1/instances/:name/endpoints", (c) => {
    const { uid, containers } = find(c.req.param("name"));
    const source = mergedLines(containers, (node, stop) =>
      endpointLines((query) => sessions.kernelStream(node, { uid, ...query }, stop), stop),
    );
    return ndjson(source, signal);
  });

  app.get("/v1/instances/:name/trace", (c) => {
    const { uid, containers } = find(c.req.param("name"));
    const endpoint = queryNumber(c.req.query("endpoint"), "endpoint", endpointLimits);
    const max = queryNumber(c.req.query("max"), "max", traceLimits);
    const query = { uid, what: "trace" as const, endpoint, max };
    const source = mergedLines(containers, (node, stop) =>
      linesOf(sessions.kernelStream(node, query, stop), stop),
    );
    return ndjson(source, signal);
  });
  return app;
}

function notFound(name: string): DvsError {
  return new DvsError("NOT_FOUND", `There is no instance ${JSON.stringify(name)}. See: dvs instance ls`);
}
