/** The machines of the cluster. */
import { Hono } from "hono";
import type { NodeView } from "../../api/views.ts";
import { leaveTxn, removeNodeTxn } from "../../control/requests.ts";
import { DvsError } from "../../errors.ts";
import { keys, NodeRecord } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { eventStamp } from "../random.ts";
import { needs } from "./auth.ts";

export function nodeRoutes(coordinator: Coordinator) {
  const { store, driver, controller } = coordinator;
  const app = new Hono<ApiEnv>();
  const views = () => controller.nodeViews(performance.now());
  const find = (name: string): NodeView => {
    const node = views().find((n) => n.name === name || n.id === name);
    if (!node) throw new DvsError("NOT_FOUND", `There is no node ${JSON.stringify(name)}. See: dvs node ls`);
    return node;
  };
  const load = async (id: string) => {
    const kv = await store.get(keys.node(id));
    if (!kv) throw new DvsError("NOT_FOUND", `Node ${id} was removed meanwhile.`);
    return { record: NodeRecord.parse(JSON.parse(kv.value)), modRevision: kv.modRevision };
  };

  app.get("/v1/nodes", (c) => c.json(views()));
  app.get("/v1/nodes/:name", (c) => c.json(find(c.req.param("name"))));

  app.post("/v1/nodes/:name/leave", needs("admin"), async (c) => {
    const before = find(c.req.param("name"));
    const { id } = before;
    for (;;) {
      const { record, modRevision } = await load(id);
      if (record.leaving) break;
      const result = await settleTxn(store, leaveTxn(record, modRevision, eventStamp()));
      await driver.seen(result.revision);
      if (result.succeeded) break;
    }
    // An empty node may be gone already.
    return c.json(views().find((n) => n.id === id) ?? { ...before, leaving: true, schedulable: false });
  });

  app.delete("/v1/nodes/:name", needs("admin"), async (c) => {
    const node = find(c.req.param("name"));
    if (node.state !== "down" && c.req.query("force") !== "true") {
      throw new DvsError(
        "CONFLICT",
        `Cannot remove node ${node.name}: it is ${node.state}. Let it leave (dvs node leave ${node.name}), or use --force.`,
      );
    }
    for (;;) {
      const { record, modRevision } = await load(node.id);
      const result = await settleTxn(store, removeNodeTxn(record, modRevision, eventStamp()));
      await driver.seen(result.revision);
      if (result.succeeded) break;
    }
    return c.body(null, 204);
  });
  return app;
}
