/**
 * The first start of a cluster, repeated harmlessly at each later one: identity of the cluster, its two
 * authorities, this coordinator's identity and certificate, and the first administrator's token.
 *
 * The authorities' keys live in the store, because each coordinator of the cluster signs. Whoever reads the store
 * owns the cluster: the SQLite file has mode 0600, an etcd must be reachable for coordinators only.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { DvsError } from "../errors.ts";
import { ClusterRecord, keys, stateVersion, type TokenRecord } from "../records.ts";
import { settleTxn } from "../store/settle.ts";
import type { Store } from "../store/store.ts";
import { readJsonFile, writeSmallFile } from "../files.ts";
import { createAuthority, fingerprint, type Authority } from "../trust/authority.ts";
import { mintApiToken } from "../trust/tokens.ts";
import { z } from "zod";

export interface Cluster {
  id: string;
  cluster: Authority;
  workload: Authority;
  caFingerprint: string;
}

/**
 * Reads the cluster's identity, or makes it: exactly one of several coordinators that start at once does. `knownId`:
 * the cluster this coordinator belonged to before. FAILED when the store is not that one's: a lost or wrong store must
 * not become a new cluster, whose authorities no node knows.
 */
export async function openCluster(store: Store, knownId?: string): Promise<Cluster> {
  for (;;) {
    const [meta, authority] = [await store.get(keys.cluster), await store.get(keys.authority)];
    if (meta && authority) {
      const record = ClusterRecord.safeParse(JSON.parse(meta.value));
      if (!record.success) {
        throw new DvsError(
          "FAILED",
          `Cannot use this store: its state has another version than ${stateVersion}. Start the dvs that wrote it.`,
        );
      }
      if (knownId !== undefined && record.data.clusterId !== knownId)
        throw anotherStore(knownId, `is of cluster ${record.data.clusterId}`);
      const { cluster, workload } = JSON.parse(authority.value) as {
        cluster: Authority;
        workload: Authority;
      };
      return {
        id: record.data.clusterId,
        cluster,
        workload,
        caFingerprint: fingerprint(cluster.certificate),
      };
    }
    if (meta)
      throw new DvsError("FAILED", "Cannot use this store: its cluster has no authorities. Restore it.");
    if (knownId !== undefined) throw anotherStore(knownId, "has no cluster");
    const clusterId = `c-${randomBytes(8).toString("hex")}`;
    const [cluster, workload] = await Promise.all([
      createAuthority(`dvs cluster ${clusterId}`),
      createAuthority(`dvs workload ${clusterId}`),
    ]);
    const record: ClusterRecord = { stateVersion, clusterId, createdAt: new Date().toISOString() };
    // Whoever loses this race reads the winner's at the next turn.
    await settleTxn(store, {
      if: [{ key: keys.cluster, target: "create", op: "=", value: 0 }],
      then: [
        { type: "put", key: keys.cluster, value: JSON.stringify(record) },
        { type: "put", key: keys.authority, value: JSON.stringify({ cluster, workload }) },
      ],
    });
  }
}

function anotherStore(knownId: string, has: string): DvsError {
  return new DvsError(
    "FAILED",
    `Cannot use this store: it ${has}, and this coordinator's directory is of cluster ${knownId}. Restore that ` +
      "cluster's store, or choose an empty --data-dir.",
  );
}

const CoordinatorIdentity = z.object({
  id: z.string().min(1),
  /** Absent before it has seen its store. */
  clusterId: z.string().optional(),
  /** Ports that were chosen when 0 was asked for: kept, so that agents find the coordinator again. */
  apiPort: z.number().int(),
  agentPort: z.number().int(),
});
export type CoordinatorIdentity = z.infer<typeof CoordinatorIdentity>;

/** This coordinator's own facts, in its data directory; a damaged file counts as none. */
export async function openIdentity(dataDir: string): Promise<CoordinatorIdentity> {
  const known = CoordinatorIdentity.safeParse(await readJsonFile(identityFile(dataDir)));
  if (known.success) return known.data;
  const identity = { id: `coordinator-${randomBytes(4).toString("hex")}`, apiPort: 0, agentPort: 0 };
  await saveIdentity(dataDir, identity);
  return identity;
}

export async function saveIdentity(dataDir: string, identity: CoordinatorIdentity): Promise<void> {
  await writeSmallFile(identityFile(dataDir), JSON.stringify(identity), { durable: true });
}

const identityFile = (dataDir: string) => join(dataDir, "coordinator.json");

const AdminToken = z.object({ id: z.string(), token: z.string() });

/**
 * The administrator's token of this coordinator, in `<dataDir>/admin-token` (mode 0600): made at the first start,
 * and again when its record or its file is gone. Returns the token.
 */
export async function openAdminToken(store: Store, dataDir: string, cluster: Cluster): Promise<string> {
  const file = join(dataDir, "admin-token");
  const kept = AdminToken.safeParse(await readJsonFile(file));
  if (kept.success && (await store.get(keys.token(kept.data.id)))) return kept.data.token;
  const minted = mintApiToken({ caFingerprint: cluster.caFingerprint });
  const record: TokenRecord = {
    id: minted.id,
    kind: "api",
    description: "administrator, made at the coordinator's first start",
    secretHash: minted.secretHash,
    role: "admin",
    expiresAt: null,
    usesLeft: null,
    createdAt: new Date().toISOString(),
  };
  // The file first: a token in the store that nobody has would stay for ever.
  await writeSmallFile(file, JSON.stringify({ id: minted.id, token: minted.token }), { durable: true });
  await settleTxn(store, {
    if: [],
    then: [{ type: "put", key: keys.token(minted.id), value: JSON.stringify(record) }],
  });
  return minted.token;
}
