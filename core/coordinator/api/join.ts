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
import { KiB, nodeCertificateDays } from "../../limits.ts";
import { keys, NodeRecord, TokenRecord } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { KeyValue, Operation, Store, Txn } from "../../store/store.ts";
import { issueCertificate } from "../../trust/authority.ts";
import { publicKeyOf } from "../../trust/csr.ts";
import { nodeUri } from "../../trust/identity.ts";
import { secretMatches } from "../../trust/tokens.ts";
import type { Coordinator } from "../context.ts";
import { eventStamp } from "../random.ts";
import { read } from "../read.ts";
import { isExpired } from "./auth.ts";

/** Anybody may send one. */
const joinBytesMax = 64 * KiB;

export function joinRoutes(coordinator: Coordinator) {
  const { cluster, driver } = coordinator;
  return new Hono().post("/v1/join", async (c) => {
    const request = await read(c, JoinRequest, "join request", joinBytesMax);
    const token = await findJoinToken(coordinator.store, request.id, request.secret, "join");
    const nodeId = await nodeIdOf(request.csr);
    // First, since it checks the request: one that is refused must use up nothing.
    const certificate = await issueCertificate(cluster.cluster, {
      csr: request.csr,
      uri: nodeUri(cluster.id, nodeId),
      days: nodeCertificateDays,
    });
    await driver.seen(await admit(coordinator, nodeId, request, token));
    await coordinator.members.refresh();
    const answer: JoinAnswer = {
      nodeId,
      clusterId: cluster.id,
      certificate,
      clusterCa: cluster.cluster.certificate,
      workloadCa: cluster.workload.certificate,
      agentAddresses: coordinator.members.addresses("agents"),
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

export async function findJoinToken(store: Store, id: string, secret: string, kind: "join" | "coordinator") {
  const kv = await store.get(keys.token(id));
  const record = kv ? TokenRecord.parse(JSON.parse(kv.value)) : null;
  if (!kv || record?.kind !== kind || !secretMatches(secret, record.secretHash)) {
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

/**
 * Writes the node's record and counts the token down, in one transaction. Returns a revision at which the node is
 * there. A node that is there already is left as it is: its join was sent twice.
 */
async function admit(
  { store }: Pick<Coordinator, "store">,
  nodeId: string,
  request: z.output<typeof JoinRequest>,
  token: { kv: KeyValue; record: TokenRecord },
): Promise<number> {
  for (let { kv, record } = token; ;) {
    const known = await store.get(keys.node(nodeId));
    if (known) {
      checkSame(NodeRecord.parse(JSON.parse(known.value)), request);
      return known.modRevision;
    }
    if (record.usesLeft === 0) {
      throw new DvsError(
        "UNAUTHENTICATED",
        "Cannot join: the token is used up. Make another: dvs token create",
      );
    }
    const result = await settleTxn(store, admission(nodeId, request, kv, record));
    if (result.succeeded) return result.revision;
    const holder = await store.get(keys.nodeName(request.name));
    if (holder && holder.value !== nodeId) {
      throw new DvsError(
        "CONFLICT",
        `Cannot join: another node is named "${request.name}". Choose another --name, or remove the old one: dvs node rm ${request.name}`,
      );
    }
    // Somebody else used the token meanwhile, or it was removed.
    ({ kv, record } = await findJoinToken(store, request.id, request.secret, "join"));
  }
}

function admission(
  nodeId: string,
  request: z.output<typeof JoinRequest>,
  kv: KeyValue,
  token: TokenRecord,
): Txn {
  const { name, address, labels, containersMax } = request;
  const node: NodeRecord = {
    id: nodeId,
    name,
    address,
    labels,
    schedulable: true,
    leaving: false,
    joinedAt: new Date().toISOString(),
    containersMax,
  };
  const then: Operation[] = [
    { type: "put", key: keys.node(nodeId), value: JSON.stringify(node) },
    { type: "put", key: keys.nodeName(name), value: nodeId },
    eventOperation({
      ...eventStamp(),
      type: "normal",
      subject: `node/${name}`,
      reason: "Joined",
      message: `node ${name} joined at ${address}`,
    }),
  ];
  if (token.usesLeft !== null) {
    const used: TokenRecord = { ...token, usesLeft: token.usesLeft - 1 };
    then.push({ type: "put", key: kv.key, value: JSON.stringify(used) });
  }
  return {
    if: [
      { key: keys.nodeName(name), target: "create", op: "=", value: 0 },
      { key: keys.node(nodeId), target: "create", op: "=", value: 0 },
      { key: kv.key, target: "mod", op: "=", value: kv.modRevision },
    ],
    then,
  };
}

/** One key is one node: under another name or address it would answer for a node that nobody finds. */
function checkSame(record: NodeRecord, request: z.output<typeof JoinRequest>): void {
  if (record.name === request.name && record.address === request.address) return;
  throw new DvsError(
    "CONFLICT",
    `Cannot join as "${request.name}" at ${request.address}: with this key the machine is node "${record.name}" at ` +
      `${record.address} already. Join under that name, or remove it first: dvs node rm ${record.name}`,
  );
}
