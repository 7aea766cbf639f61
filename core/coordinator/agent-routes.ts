/** What agents call, on the port that demands a node's certificate (core/agent-protocol.ts). */
import { Hono } from "hono";
import { Heartbeat } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import { handleFetch, manifestOf } from "../image/transfer.ts";
import { nodeCertificateDays, requestBodyBytesMax } from "../limits.ts";
import { keys, NodeRecord } from "../records.ts";
import { leaveTxn } from "../control/requests.ts";
import { settleTxn } from "../store/settle.ts";
import { issueCertificate } from "../trust/authority.ts";
import { containerUri, nodeUri, type Identity } from "../trust/identity.ts";
import type { Coordinator } from "./context.ts";
import { errorResponse } from "./api/errors.ts";
import { ndjson } from "./ndjson.ts";
import { eventStamp } from "./random.ts";
import { read } from "./read.ts";
import { z } from "zod";

const CsrRequest = z.object({ csr: z.string().max(8_192) });
const FetchRequest = z.object({ digests: z.array(z.string()).max(20_000) });

interface AgentEnv {
  Bindings: { identity: Identity };
  Variables: { node: NodeRecord };
}

export function agentRoutes(coordinator: Coordinator) {
  const { cluster, store, controller, driver, sessions, blobs } = coordinator;
  const app = new Hono<AgentEnv>();
  app.onError((e) => errorResponse(e));

  // Who calls: a node of this cluster whose record is still there. A removed node's certificate is worth nothing.
  app.use(async (c, next) => {
    const { identity } = c.env;
    if (identity.kind !== "node" || identity.clusterId !== cluster.id) {
      throw new DvsError("FORBIDDEN", "Only nodes of this cluster may call the agents' port.");
    }
    const kv = await store.get(keys.node(identity.nodeId));
    if (!kv) {
      // Not an error of the link: the agent has to learn that it is no longer wanted.
      if (c.req.path === "/agent/v1/desired") return ndjson(once({ type: "removed" }));
      throw new DvsError("NOT_FOUND", `Node ${identity.nodeId} is not in this cluster: it was removed.`);
    }
    c.set("node", NodeRecord.parse(JSON.parse(kv.value)));
    return next();
  });

  app.get("/agent/v1/desired", (c) => {
    const { id } = c.get("node");
    const desired = controller.desiredFor(id);
    const removed = () => !controller.hasNode(id);
    return ndjson(sessions.listen(id, desired ? { type: "desired", desired } : null, removed));
  });

  app.post("/agent/v1/heartbeat", async (c) => {
    const beat = await read(c, Heartbeat, "heartbeat", requestBodyBytesMax * 4);
    const { id } = c.get("node");
    driver.step({
      type: "heartbeat",
      nowMs: performance.now(),
      node: id,
      incarnation: beat.incarnation,
      sequence: beat.sequence,
      ...(beat.report ? { report: beat.report } : {}),
    });
    return c.json({ reportWanted: controller.reportWanted(id, beat.incarnation) });
  });

  app.post("/agent/v1/certificate", async (c) => {
    const { csr } = await read(c, CsrRequest, "certificate request");
    const uri = nodeUri(cluster.id, c.get("node").id);
    const certificate = await issueCertificate(cluster.cluster, { csr, uri, days: nodeCertificateDays });
    return c.json({ certificate });
  });

  app.post("/agent/v1/instances/:uid/certificate", async (c) => {
    const { csr } = await read(c, CsrRequest, "certificate request");
    const nodeId = c.get("node").id;
    const container = controller.desiredFor(nodeId)?.containers.find((d) => d.uid === c.req.param("uid"));
    if (!container) {
      throw new DvsError(
        "FORBIDDEN",
        `Instance ${c.req.param("uid")} has no container on node ${c.get("node").name}.`,
      );
    }
    const { tenant, instance, uid } = container;
    const uri = containerUri({ clusterId: cluster.id, tenant, instance, uid, nodeId });
    const certificate = await issueCertificate(cluster.workload, { csr, uri, days: nodeCertificateDays });
    return c.json({ certificate, authority: cluster.workload.certificate });
  });

  app.get("/agent/v1/images/:digest/manifest", async (c) => {
    const bytes = await manifestOf(blobs, c.req.param("digest"));
    return new Response(bytes as Uint8Array<ArrayBuffer>, {
      headers: { "content-type": "application/octet-stream" },
    });
  });

  app.post("/agent/v1/blobs/fetch", async (c) => {
    const { digests } = await read(c, FetchRequest, "blob request", requestBodyBytesMax * 4);
    return new Response(await handleFetch(blobs, digests), {
      headers: { "content-type": "application/octet-stream" },
    });
  });

  app.post("/agent/v1/streams/:id", async (c) => {
    if (!c.req.raw.body) throw new DvsError("INVALID", "A stream needs a body.");
    await sessions.accept(c.get("node").id, c.req.param("id"), c.req.raw.body);
    return c.json({});
  });

  app.post("/agent/v1/leave", async (c) => {
    const node = c.get("node");
    const kv = await store.get(keys.node(node.id));
    if (kv && !node.leaving)
      await driver.seen((await settleTxn(store, leaveTxn(node, kv.modRevision, eventStamp()))).revision);
    return c.json({});
  });

  return (request: Request, identity: Identity) => app.fetch(request, { identity });
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}
