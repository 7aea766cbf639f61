/**
 * Which cluster and node a data directory belongs to. `identity.json` is written last by a join and fsynced: while
 * it is absent the machine has not joined, whatever else lies there. Key and certificate are in one file, so that
 * a renewal replaces both or none.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { basename } from "node:path";
import { z } from "zod";
import { DvsError } from "../errors.ts";
import { coordinatorsMax } from "../limits.ts";
import { Labels, Name } from "../names.ts";
import type { DataDir } from "./data-dir.ts";
import { makePrivateDir, readJsonFile, writeSmallFile } from "../files.ts";

/** `host:port` each. */
export const AgentAddresses = z
  .array(z.string().regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, "must be HOST:PORT"))
  .min(1)
  .max(coordinatorsMax);

export const NodeIdentityFile = z.object({
  version: z.literal(1),
  clusterId: z.string(),
  nodeId: z.string(),
  name: Name,
  /** Where other nodes reach this one, without a port. */
  address: z.string(),
  labels: Labels,
  /** `host:port` of each coordinator's port for agents. */
  agentAddresses: z.array(z.string()).min(1),
  joinedAt: z.string(),
});
export type NodeIdentityFile = z.infer<typeof NodeIdentityFile>;

/** PEM all. */
export const NodeCertificates = z.object({
  certificate: z.string(),
  key: z.string(),
  /** Signs coordinators and nodes. */
  clusterCa: z.string(),
  /** Signs containers. */
  workloadCa: z.string(),
});
export type NodeCertificates = z.infer<typeof NodeCertificates>;

export interface Enrolled {
  identity: NodeIdentityFile;
  certificates: NodeCertificates;
}

/** Null when the machine has not joined. Rejects with FAILED when what a join wrote is damaged. */
export async function loadIdentity(data: DataDir): Promise<Enrolled | null> {
  const json = await readJsonFile(data.identity);
  // A torn one is not an absent one: to join over it would make this machine another node.
  if (json === null && !existsSync(data.identity)) return null;
  const identity = NodeIdentityFile.safeParse(json);
  if (!identity.success) throw damaged(data, data.identity, identity.error);
  const certificates = NodeCertificates.safeParse(await readJsonFile(data.certificates));
  if (!certificates.success) throw damaged(data, data.certificates, certificates.error);
  return { identity: identity.data, certificates: certificates.data };
}

export async function saveIdentity(data: DataDir, { identity, certificates }: Enrolled): Promise<void> {
  await makePrivateDir(data.root);
  await saveCertificates(data, certificates);
  await saveNodeIdentity(data, identity);
}

export async function saveNodeIdentity(data: DataDir, identity: NodeIdentityFile): Promise<void> {
  await writeSmallFile(data.identity, `${JSON.stringify(identity, null, 2)}\n`, { durable: true });
}

export async function saveCertificates(data: DataDir, certificates: NodeCertificates): Promise<void> {
  await writeSmallFile(data.certificates, JSON.stringify(certificates), { durable: true });
}

/** The node was removed from its cluster: its data directory may join again. */
export async function forgetIdentity(data: DataDir): Promise<void> {
  for (const path of [data.identity, data.certificates, data.joinKey, data.desired]) {
    await rm(path, { force: true });
  }
}

function damaged(data: DataDir, path: string, { issues }: z.ZodError): DvsError {
  const cause = new Error(
    issues.map((i) => `${i.path.join(".") || basename(path)}: ${i.message}`).join("; "),
  );
  return new DvsError(
    "FAILED",
    `Cannot read ${path}: it is missing or damaged. Remove the node (dvs node rm), empty ${data.root} ` +
      "and join again with a new token.",
    { cause },
  );
}
