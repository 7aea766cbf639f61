/** Instances: made, listed, watched, stopped, started, removed. The controller does the rest. */
import { createHash } from "node:crypto";
import { Hono } from "hono";
import { InstanceRequest, type InstancePage } from "../../api/schema.ts";
import type { InstanceView, InstanceWatchEvent } from "../../api/views.ts";
import { createConflict, createTxn, setDesiredTxn } from "../../control/requests.ts";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { defaultTenant, Name } from "../../names.ts";
import { InstanceRecord, keys, type InstanceSpec } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { keepAliveMs, ndjson } from "../ndjson.ts";
import { eventStamp, randomId } from "../random.ts";
import { queryNumber, read } from "../read.ts";
import { Mailbox } from "../topic.ts";
import { needs } from "./auth.ts";
import { findImage } from "./images.ts";
import { logLines } from "./logs.ts";

const tenant = defaultTenant;

export function instanceRoutes(coordinator: Coordinator) {
  const { store, driver, controller } = coordinator;
  const app = new Hono<ApiEnv>();

  const find = (name: string): InstanceView => {
    const view = controller.instanceView(tenant, name);
    if (!view)
      throw new DvsError("NOT_FOUND", `There is no instance ${JSON.stringify(name)}. See: dvs instance ls`);
    return view;
  };

  app.get("/v1/instances", (c) => {
    const limit = queryNumber(c.req.query("limit"), "limit", 500, 1_000);
    const after = c.req.query("after") ?? "";
    const rest = controller.instanceViews(tenant).filter((i) => i.name > after);
    const instances = rest.slice(0, limit);
    const page: InstancePage = {
      instances,
      next: rest.length > limit ? (instances.at(-1)?.name ?? null) : null,
    };
    return c.json(page);
  });

  app.get("/v1/instances/watch", (c) => {
    const { source, end } = watch(coordinator, c.req.query("name"));
    return ndjson(source, end);
  });

  app.get("/v1/instances/:name", (c) => c.json(find(c.req.param("name"))));

  app.post("/v1/instances", needs("operator"), async (c) => {
    const request = await read(c, InstanceRequest, "instance");
    const spec = await complete(coordinator, request.spec);
    const uid = uidOf(c.req.header("idempotency-key"));
    const record: InstanceRecord = {
      tenant,
      name: request.name,
      uid,
      spec,
      generation: 1,
      desired: "running",
      phase: "creating",
      failure: null,
      placement: [],
      createdAt: new Date().toISOString(),
    };
    const txn = createTxn(record, eventStamp());
    if (spec.image !== null) {
      // Written as it is: whoever removes the image in this very moment compares its revision and finds it changed.
      const { kv } = await findImage(coordinator, spec.image);
      txn.if.push({ key: kv.key, target: "mod", op: "=", value: kv.modRevision });
      txn.then.push({ type: "put", key: kv.key, value: kv.value });
    }
    const result = await settleTxn(store, txn);
    const conflict = result.succeeded ? null : createConflict(record, result);
    if (conflict) throw conflict;
    await driver.seen(result.revision);
    return c.json(find(record.name), 201);
  });

  /** Changes what is wanted, against the record as it is now; again when somebody else changed it meanwhile. */
  const want = async (name: string, desired: InstanceRecord["desired"]): Promise<InstanceView> => {
    for (;;) {
      const kv = await store.get(keys.instance(tenant, parseOrThrow(Name, name, "instance name")));
      if (!kv) return find(name);
      const before = find(name);
      const record = InstanceRecord.parse(JSON.parse(kv.value));
      if (record.desired === desired) return before;
      const result = await settleTxn(store, setDesiredTxn(record, kv.modRevision, desired, eventStamp()));
      await driver.seen(result.revision);
      // A removal may be complete already.
      if (result.succeeded)
        return controller.instanceView(tenant, name) ?? { ...before, phase: "removing", desired };
    }
  };
  app.delete("/v1/instances/:name", needs("operator"), async (c) =>
    c.json(await want(c.req.param("name"), "removed")),
  );
  app.post("/v1/instances/:name/stop", needs("operator"), async (c) =>
    c.json(await want(c.req.param("name"), "stopped")),
  );
  app.post("/v1/instances/:name/start", needs("operator"), async (c) =>
    c.json(await want(c.req.param("name"), "running")),
  );

  app.get("/v1/instances/:name/logs", (c) => {
    const view = find(c.req.param("name"));
    const source = logLines(coordinator, view, {
      tailLines: queryNumber(c.req.query("tail"), "tail", 100, 100_000),
      follow: c.req.query("follow") === "true",
      node: c.req.query("node"),
    });
    return ndjson(source);
  });
  return app;
}

/** The same key gives the same instance, so that a create whose answer was lost can be sent again. */
function uidOf(idempotencyKey: string | undefined): string {
  if (idempotencyKey === undefined) return randomId();
  if (!/^[\x21-\x7e]{8,128}$/.test(idempotencyKey)) {
    throw new DvsError("INVALID", "Invalid idempotency-key: it must have 8 to 128 visible ASCII characters.");
  }
  return createHash("sha256").update(idempotencyKey).digest("hex").slice(0, 24);
}

/** Checks the spec against the VOS that it names and the images there are; returns it with defaults filled in. */
async function complete(coordinator: Coordinator, spec: InstanceSpec): Promise<InstanceSpec> {
  const { registry } = coordinator;
  const plugin = await registry.load(spec.os);
  if (!plugin) {
    throw new DvsError(
      "INVALID",
      `Unknown OS ${JSON.stringify(spec.os)}. This cluster can run: ${registry.names().join(", ")}.`,
      {
        issues: [{ path: "spec.os", message: `must be one of ${registry.names().join(", ")}` }],
      },
    );
  }
  const options = parseOrThrow(plugin.options, spec.options, `options of OS ${spec.os}`) as Record<
    string,
    unknown
  >;
  if (plugin.image === "required" && spec.image === null) {
    throw new DvsError("INVALID", `OS ${spec.os} boots from an image: give --site DIR or --image NAME.`);
  }
  if (plugin.image === "none" && spec.image !== null) {
    throw new DvsError("INVALID", `OS ${spec.os} takes no image.`);
  }
  const ports = spec.publish.map((p) => p.port);
  const twice = ports.find((p, i) => ports.indexOf(p) !== i);
  if (twice !== undefined)
    throw new DvsError("INVALID", `Port ${twice} is published twice in the same instance.`);
  return { ...spec, options };
}

/** What is, `synced`, then each change; a slow reader skips states in between, never the last. */
function watch(coordinator: Coordinator, name: string | undefined) {
  const { controller, driver } = coordinator;
  const keyOf = (e: InstanceWatchEvent) =>
    e.type === "instance"
      ? `${e.instance.name}/${e.instance.uid}`
      : e.type === "removed"
        ? `${e.name}/${e.uid}`
        : "";
  const mailbox = new Mailbox<InstanceWatchEvent>({ key: keyOf });
  const nameOf = (e: InstanceWatchEvent) =>
    e.type === "instance" ? e.instance.name : e.type === "removed" ? e.name : undefined;
  const unsubscribe = driver.instances.subscribe((e) => {
    if (name === undefined || nameOf(e) === name) mailbox.put(e);
  });
  const initial = controller.instanceViews(tenant).filter((i) => name === undefined || i.name === name);
  async function* source(): AsyncGenerator<InstanceWatchEvent | undefined> {
    for (const instance of initial) yield { type: "instance", instance };
    yield { type: "synced" };
    for (;;) {
      const event = await mailbox.take(keepAliveMs);
      if (event === null) return;
      yield event;
    }
  }
  return {
    source: source(),
    end: () => {
      unsubscribe();
      mailbox.close();
    },
  };
}
