/**
 * A machine joins. The node's id is derived from its key, so that a join whose answer was lost can be repeated
 * without using the token twice.
 */
import { createHash } from "node:crypto";
import { Hono } from "hono";
import type { z } from "zod";
import { JoinRequest, type JoinAnswer } from "../../api/schema.ts";
import { eventOperation } from "../../control/events.ts";
import { DvsError } from "../../errors.ts";
import { nodeCertificateDays } from "../../limits.ts";
import { keys, NodeRecord, TokenRecord } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { KeyValue, Operation } from "../../store/store.ts";
import { issueCertificate } from "../../trust/authority.ts";
import { publicKeyOf } from "../../trust/csr.ts";
import { nodeUri } from "../../trust/identity.ts";
import { secretMatches } from "../../trust/tokens.ts";
import type { Coordinator } from "../context.ts";
import { read } from "../read.ts";
import { eventStamp } from "../random.ts";
import { isExpired } from "./auth.ts";

export function joinRoutes(coordinator: Coordinator) {
  const { cluster, store, driver } = coordinator;
  return new Hono().post("/v1/join", async (c) => {
    const request = await read(c, JoinRequest, "join request");
    const nodeId = await nodeIdOf(request.csr);
    const token = await findJoinToken(coordinator, request.id, request.secret);

    if (!(await store.get(keys.node(nodeId)))) {
      const revision = await admit(coordinator, nodeId, request, token);
      await driver.seen(revision);
    }
    const certificate = await issueCertificate(cluster.cluster, {
      csr: request.csr,
      uri: nodeUri(cluster.id, nodeId),
      days: nodeCertificateDays,
    });
    const answer: JoinAnswer = {
      nodeId,
      clusterId: cluster.id,
      certificate,
      clusterCa: cluster.cluster.certificate,
      workloadCa: cluster.workload.certificate,
      agentAddresses: coordinator.agentAddresses(),
    };
    return c.json(answer);
  });
}

/** SHA-256 of the public key: a key's owner always gets the same id. */
async function nodeIdOf(csr: string): Promise<string> {
  const digest = createHash("sha256")
    .update(await publicKeyOf(csr))
    .digest("hex");
  return `n-${digest.slice(0, 16)}`;
}

async function findJoinToken(coordinator: Coordinator, id: string, secret: string) {
  const kv = await coordinator.store.get(keys.token(id));
  const record = kv ? TokenRecord.parse(JSON.parse(kv.value)) : null;
  if (!kv || record?.kind !== "join" || !secretMatches(secret, record.secretHash)) {
    throw new DvsError(
      "UNAUTHENTICATED",
      "Cannot join: the token is unknown or was removed. Make one: dvs token create",
    );
  }
  if (isExpired(record)) {
    throw new DvsError(
      "UNAUTHENTICATED",
      `Cannot join: the token expired at ${record.expiresAt}. Make another: dvs token create`,
    );
  }
  return { kv, record };
}

/** Writes the node's record and counts the token down, in one transaction. Returns its revision. */
async function admit(
  coordinator: Coordinator,
  nodeId: string,
  request: z.output<typeof JoinRequest>,
  token: { kv: KeyValue; record: TokenRecord },
): Promise<number> {
  const { store } = coordinator;
  for (let { kv, record } = token; ;) {
    if (record.usesLeft === 0) {
      throw new DvsError(
        "UNAUTHENTICATED",
        "Cannot join: the token is used up. Make another: dvs token create",
      );
    }
    const node: NodeRecord = {
      id: nodeId,
      name: request.name,
      address: request.address,
      labels: request.labels,
      schedulable: true,
      leaving: false,
      joinedAt: new Date().toISOString(),
      containersMax: request.containersMax,
    };
    const then: Operation[] = [
      { type: "put", key: keys.node(nodeId), value: JSON.stringify(node) },
      { type: "put", key: keys.nodeName(node.name), value: nodeId },
      eventOperation({
        ...eventStamp(),
        type: "normal",
        subject: `node/${node.name}`,
        reason: "Joined",
        message: `node ${node.name} joined at ${node.address}`,
      }),
    ];
    if (record.usesLeft !== null) {
      const used: TokenRecord = { ...record, usesLeft: record.usesLeft - 1 };
      then.push({ type: "put", key: kv.key, value: JSON.stringify(used) });
    }
    const result = await settleTxn(store, {
      if: [
        { key: keys.nodeName(node.name), target: "create", op: "=", value: 0 },
        { key: keys.node(nodeId), target: "create", op: "=", value: 0 },
        { key: kv.key, target: "mod", op: "=", value: kv.modRevision },
      ],
      then,
    });
    if (result.succeeded) return result.revision;
    if (await store.get(keys.node(nodeId))) return result.revision; // the same join, sent twice
    if (await store.get(keys.nodeName(node.name))) {
      throw new DvsError(
        "CONFLICT",
        `Cannot join: another node is named "${node.name}". Choose another --name, or remove the old one: dvs node rm ${node.name}`,
      );
    }
    ({ kv, record } = await findJoinToken(coordinator, request.id, request.secret));
  }
}
