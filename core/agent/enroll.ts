/**
 * A machine joins a cluster: proves a join token to a coordinator that the token's hash vouches for, and gets a
 * certificate for a key that never leaves the machine. The key is on disk before it is sent for: the node's id
 * follows from it, so a join whose answer was lost is repeated under the same id and uses up nothing.
 */
import { mkdir, realpath } from "node:fs/promises";
import { z } from "zod";
import { JoinAnswer, JoinRequest } from "../api/schema.ts";
import { DvsError, parseOrThrow } from "../errors.ts";
import type { Labels } from "../names.ts";
import { createClient } from "../transport/client.ts";
import { derOf, fingerprint } from "../trust/certificate.ts";
import { parseIdentity } from "../trust/identity.ts";
import { createKeyAndCsr } from "../trust/key.ts";
import { type JoinToken, parseJoinToken } from "../trust/tokens.ts";
import { checkSocketPaths, type DataDir, dataDirOf } from "./data-dir.ts";
import { makePrivateDir, readJsonFile, writeSmallFile } from "../files.ts";
import { lockDirectory } from "../lock.ts";
import { type Enrolled, loadIdentity, saveIdentity } from "./identity.ts";

export interface EnrollOptions {
  /** What `dvs token create` printed. */
  token: string;
  name: string;
  dataDir: string;
  /** Where other nodes reach this one, without a port. */
  address: string;
  labels?: Labels;
  /** How many containers fit, 0 = no limit. */
  containersMax?: number;
  signal?: AbortSignal;
}

export interface Enrollment {
  nodeId: string;
  clusterId: string;
  name: string;
  /** True when the machine had joined before: the token was not used. */
  resumed: boolean;
}

const joinTimeoutMs = 15_000;

/**
 * Rejects with CONFLICT when the directory belongs to another cluster or an agent runs on it, UNAUTHENTICATED for
 * a token that is unknown, expired or used up, or a server that is not of the token's cluster, UNAVAILABLE when no
 * coordinator answers; joining again is safe then.
 */
export async function enrollNode(options: EnrollOptions): Promise<Enrollment> {
  const token = parseJoinToken(options.token);
  await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
  const data = dataDirOf(await realpath(options.dataDir));
  checkSocketPaths(data.root);
  const known = await loadIdentity(data);
  if (known) return resume(data, known, token);

  await makePrivateDir(data.root);
  const lock = lockDirectory(data.root, "agent");
  try {
    // Another join may have ended between the look and the lock.
    const justNow = await loadIdentity(data);
    if (justNow) return resume(data, justNow, token);
    const enrolled = await join(data, token, options);
    await saveIdentity(data, enrolled);
    return enrollment(enrolled, false);
  } finally {
    lock.release();
  }
}

function resume(data: DataDir, enrolled: Enrolled, token: JoinToken): Enrollment {
  if (fingerprint(enrolled.certificates.clusterCa) !== token.caFingerprint) {
    const { name, clusterId } = enrolled.identity;
    throw new DvsError(
      "CONFLICT",
      `Cannot join: ${data.root} belongs to node ${name} of another cluster, ${clusterId}. Take it out of that ` +
        "one first (dvs node leave), or choose another --data-dir.",
    );
  }
  return enrollment(enrolled, true);
}

function enrollment({ identity }: Enrolled, resumed: boolean): Enrollment {
  const { nodeId, clusterId, name } = identity;
  return { nodeId, clusterId, name, resumed };
}

async function join(data: DataDir, token: JoinToken, options: EnrollOptions): Promise<Enrolled> {
  const { name, address, labels = {}, containersMax = 0, signal } = options;
  const { key, csr } = await keyFor(data, token);
  const request: JoinRequest = {
    id: token.id,
    secret: token.secret,
    csr,
    name,
    address,
    labels,
    containersMax,
  };
  parseOrThrow(JoinRequest, request, `join of node ${JSON.stringify(name)}`);
  const client = createClient({ addresses: token.addresses, trust: { pin: token.caFingerprint } });
  try {
    const response = await client.request({
      method: "POST",
      path: "/v1/join",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
      timeoutMs: joinTimeoutMs,
      idempotent: true,
      ...(signal ? { signal } : {}),
    });
    const body: unknown = await response.json().catch(() => null);
    if (!response.ok) throw DvsError.fromBody(body);
    const answer = parseOrThrow(JoinAnswer, body, "answer to the join");
    checkAnswer(answer, token);
    const { nodeId, clusterId, certificate, clusterCa, workloadCa, agentAddresses } = answer;
    return {
      identity: {
        version: 1,
        clusterId,
        nodeId,
        name,
        address,
        labels,
        agentAddresses,
        joinedAt: new Date().toISOString(),
      },
      certificates: { certificate, key, clusterCa, workloadCa },
    };
  } finally {
    client.close();
  }
}

function checkAnswer(answer: JoinAnswer, token: JoinToken): void {
  const identity = parseIdentity(derOf(answer.certificate));
  const isOurs =
    identity?.kind === "node" && identity.nodeId === answer.nodeId && identity.clusterId === answer.clusterId;
  if (isOurs && fingerprint(answer.clusterCa) === token.caFingerprint && answer.agentAddresses.length > 0)
    return;
  throw new DvsError(
    "INTERNAL",
    "Cannot join: the coordinator's answer contradicts itself (certificate, authority or addresses).",
  );
}

const JoinKey = z.object({ caFingerprint: z.string(), key: z.string(), csr: z.string() });

/** The key of an earlier attempt to join this cluster, or a new one that is on disk before it is used. */
async function keyFor(data: DataDir, token: JoinToken): Promise<{ key: string; csr: string }> {
  const kept = JoinKey.safeParse(await readJsonFile(data.joinKey));
  if (kept.success && kept.data.caFingerprint === token.caFingerprint) return kept.data;
  const made = await createKeyAndCsr("node");
  const { caFingerprint } = token;
  await writeSmallFile(data.joinKey, JSON.stringify({ caFingerprint, ...made }), { durable: true });
  return made;
}
