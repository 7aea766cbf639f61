/** What agents call, on the port that demands a node's certificate (core/agent-protocol.ts). */
import { Hono } from "hono";
import { z } from "zod";
import {
  ContainerExit,
  Heartbeat,
  type HeartbeatAnswer,
  RecordProposal,
  RecordsFollow,
} from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import { handleFetch, manifestOf } from "../image/transfer.ts";
import { digestsPerRequestMax, MiB, nodeCertificateDays } from "../limits.ts";
import { Digest } from "../names.ts";
import { issueCertificate } from "../trust/authority.ts";
import { containerUri, nodeUri, type Identity } from "../trust/identity.ts";
import { errorAnswers } from "./api/errors.ts";
import { answering } from "./answering.ts";
import type { Coordinator } from "./context.ts";
import { linesOf, ndjson } from "./ndjson.ts";
import { read } from "./read.ts";

const CsrRequest = z.object({ csr: z.string().max(8_192) });
const FetchRequest = z.object({ digests: z.array(Digest).max(digestsPerRequestMax) });
/** A thousand containers and their reasons. */
const heartbeatBytesMax = 4 * MiB;
const binary = { headers: { "content-type": "application/octet-stream" } };

interface AgentEnv {
  Bindings: { identity: Identity };
  Variables: { node: string };
}

export function agentRoutes(coordinator: Coordinator) {
  const { cluster, controller, driver, sessions, kernelLogs, blobs, members, signal, log } = coordinator;
  const app = new Hono<AgentEnv>();
  errorAnswers(app, log);

  // A node of this cluster whose record is still there: a removed node's certificate is worth nothing. The
  // controller knows; asking the store would let nodes seem dead whenever it does not answer.
  app.use(async (c, next) => {
    const { identity } = c.env;
    if (identity.kind !== "node" || identity.clusterId !== cluster.id) {
      throw new DvsError("FORBIDDEN", "Only nodes of this cluster may call the agents' port.");
    }
    if (!controller.hasNode(identity.nodeId)) {
      // Not an error of the link: the agent has to learn that it is no longer wanted.
      if (c.req.path === "/agent/v1/desired") return ndjson(linesOf([{ type: "removed" }]), signal);
      throw new DvsError("NOT_FOUND", `Node ${identity.nodeId} is not in this cluster: it was removed.`);
    }
    c.set("node", identity.nodeId);
    return next();
  });

  app.get("/agent/v1/desired", (c) => {
    const node = c.get("node");
    const recordsAfter = (uid: string, index: number) => kernelLogs.batch(uid, index);
    const lines = sessions.listen(node, driver.desiredFor(node), recordsAfter);
    for (const { uid, replicas } of controller.replicaSetsFor(node)) sessions.replicas(node, uid, replicas);
    return ndjson(lines, signal);
  });

  app.post("/agent/v1/heartbeat", async (c) => {
    const { incarnation, sequence, report } = await read(c, Heartbeat, "heartbeat", heartbeatBytesMax);
    const node = c.get("node");
    driver.step({
      type: "heartbeat",
      nowMs: performance.now(),
      node,
      incarnation,
      sequence,
      ...(report ? { report } : {}),
    });
    const reportWanted = controller.reportWanted(node, incarnation);
    return c.json({ reportWanted, coordinators: members.addresses("agents") } satisfies HeartbeatAnswer);
  });

  app.post("/agent/v1/certificate", async (c) => {
    const { csr } = await read(c, CsrRequest, "certificate request");
    const uri = nodeUri(cluster.id, c.get("node"));
    const certificate = await issueCertificate(cluster.cluster, { csr, uri, days: nodeCertificateDays });
    return c.json({ certificate });
  });

  app.post("/agent/v1/instances/:uid/certificate", async (c) => {
    const { csr } = await read(c, CsrRequest, "certificate request");
    const nodeId = c.get("node");
    const { containers = [], replicas = [] } = controller.desiredFor(nodeId) ?? {};
    const wanted = [...containers, ...replicas].find((d) => d.uid === c.req.param("uid"));
    if (!wanted) {
      throw new DvsError("FORBIDDEN", `Instance ${c.req.param("uid")} has nothing on node ${nodeId}.`);
    }
    const { tenant, instance, uid } = wanted;
    const uri = containerUri({ clusterId: cluster.id, tenant, instance, uid, nodeId });
    const certificate = await issueCertificate(cluster.workload, { csr, uri, days: nodeCertificateDays });
    return c.json({ certificate, authority: cluster.workload.certificate });
  });

  app.post("/agent/v1/instances/:uid/records", async (c) => {
    const { id, record, generation } = await read(c, RecordProposal, "record");
    const uid = c.req.param("uid");
    return c.json({ index: await kernelLogs.propose(c.get("node"), uid, id, record, generation) });
  });

  app.post("/agent/v1/instances/:uid/follow", async (c) => {
    const request = await read(c, RecordsFollow, "request for records");
    const node = c.get("node");
    const uid = c.req.param("uid");
    const after = await kernelLogs.follow(node, uid, request);
    if (request.after !== undefined) sessions.sendRecords(node, uid, after);
    return c.json({});
  });

  app.post("/agent/v1/instances/:uid/exits", async (c) => {
    const { incarnation } = await read(c, ContainerExit, "exit certificate");
    await kernelLogs.exited(c.get("node"), c.req.param("uid"), incarnation);
    return c.json({});
  });

  app.get("/agent/v1/images/:digest/manifest", async (c) => {
    return new Response(await manifestOf(blobs, c.req.param("digest")), binary);
  });

  app.post("/agent/v1/blobs/fetch", async (c) => {
    const { digests } = await read(c, FetchRequest, "blob request");
    const absent = (digest: string) => log("error", `blob ${digest} is asked for and has no good copy here`);
    return new Response(handleFetch(blobs, digests, absent), binary);
  });

  app.get("/agent/v1/streams/:id", (c) => {
    return new Response(sessions.upload(c.get("node"), c.req.param("id")), binary);
  });

  app.post("/agent/v1/streams/:id", async (c) => {
    if (!c.req.raw.body) throw new DvsError("INVALID", "A stream needs a body.");
    await sessions.accept(c.get("node"), c.req.param("id"), c.req.raw.body);
    return c.json({});
  });

  return answering((request, identity: Identity) => app.fetch(request, { identity }));
}
