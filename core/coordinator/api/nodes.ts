/** The machines of the cluster. */
import { Hono } from "hono";
import type { InstanceView, NodeView } from "../../api/views.ts";
import { leaveTxn, removeNodeTxn } from "../../control/requests.ts";
import { DvsError } from "../../errors.ts";
import { keys, NodeRecord } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { Store, Txn } from "../../store/store.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { eventStamp } from "../random.ts";
import { queryFlag } from "../read.ts";
import { needs } from "./auth.ts";

export function nodeRoutes(coordinator: Coordinator) {
  const { controller } = coordinator;
  const app = new Hono<ApiEnv>();
  const views = () => controller.nodeViews(performance.now());
  const find = (name: string): NodeView => {
    const node = views().find((n) => n.name === name || n.id === name);
    if (!node) throw new DvsError("NOT_FOUND", `There is no node ${JSON.stringify(name)}. See: dvs node ls`);
    return node;
  };

  app.get("/v1/nodes", (c) => c.json(views()));
  app.get("/v1/nodes/:name", (c) => c.json(find(c.req.param("name"))));

  app.post("/v1/nodes/:name/leave", needs("admin"), async (c) => {
    const before = find(c.req.param("name"));
    await change(coordinator, before.id, (record, modRevision) =>
      record.leaving ? null : leaveTxn(record, modRevision, eventStamp()),
    );
    // An empty node may be gone already.
    return c.json(
      views().find((n) => n.id === before.id) ?? { ...before, leaving: true, schedulable: false },
    );
  });

  app.delete("/v1/nodes/:name", needs("admin"), async (c) => {
    const node = find(c.req.param("name"));
    const force = queryFlag(c.req.query("force"), "force");
    if (!force) refuseLast(node, controller.instanceViews());
    if (node.state !== "down" && !force) {
      throw new DvsError(
        "CONFLICT",
        `Cannot remove node ${node.name}: ${
          node.state === "up" ? "it is up" : "it is not known yet whether it is down"
        }. Let it leave (dvs node leave ${node.name}); if its machine is gone for good, use --force.`,
      );
    }
    await change(coordinator, node.id, (record, modRevision) =>
      removeNodeTxn(record, modRevision, eventStamp()),
    );
    return c.body(null, 204);
  });
  return app;
}

/**
 * Changes the node's record as it is now, again when somebody else changed it meanwhile; a node that is gone needs no
 * change. Resolves when the controller has seen it.
 */
async function change(
  { store, driver }: Pick<Coordinator, "store" | "driver">,
  id: string,
  txnOf: (record: NodeRecord, modRevision: number) => Txn | null,
): Promise<void> {
  for (;;) {
    const found = await load(store, id);
    const txn = found && txnOf(found.record, found.modRevision);
    if (!txn) return;
    const result = await settleTxn(store, txn);
    await driver.seen(result.revision);
    if (result.succeeded) return;
  }
}

async function load(store: Store, id: string) {
  const kv = await store.get(keys.node(id));
  return kv && { record: NodeRecord.parse(JSON.parse(kv.value)), modRevision: kv.modRevision };
}

/** Throws CONFLICT where the node has the only replica with all that an instance has acknowledged. */
function refuseLast({ id, name }: NodeView, instances: readonly InstanceView[]): void {
  const last = instances.filter(({ state }) => {
    const inSync = state?.replicas.filter((replica) => replica.inSync) ?? [];
    return inSync.length === 1 && inSync[0]!.node === id;
  });
  if (last.length === 0) return;
  const names = last.map((instance) => instance.name).join(", ");
  throw new DvsError(
    "CONFLICT",
    `Cannot remove node ${name}: only its replica has all of the state of instance ${names}. Start the node again, or let ` +
      `others catch up first (dvs instance inspect). With --force the instance goes on only by dvs instance recover.`,
  );
}
