/**
 * The first start of a cluster, repeated harmlessly at each later one: identity of the cluster, its two
 * authorities, this coordinator's identity and certificate, and the first administrator's token.
 *
 * The authorities' keys live in the store, because each coordinator of the cluster signs. Whoever reads the store
 * owns the cluster: the SQLite file has mode 0600, an etcd must be reachable for coordinators only.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { DvsError } from "../errors.ts";
import { nodeCertificateDays } from "../limits.ts";
import { ClusterRecord, keys, stateVersion, type TokenRecord } from "../records.ts";
import { settleTxn } from "../store/settle.ts";
import type { Store } from "../store/store.ts";
import { writeFileAtomic } from "../files.ts";
import { createAuthority, fingerprint, issueCertificate, type Authority } from "../trust/authority.ts";
import { coordinatorUri } from "../trust/identity.ts";
import { createKeyAndCsr } from "../trust/key.ts";
import { mintApiToken } from "../trust/tokens.ts";
import { alternativeNames } from "./options.ts";

export interface Cluster {
  id: string;
  cluster: Authority;
  workload: Authority;
  caFingerprint: string;
}

/** Reads the cluster's identity, or makes it: exactly one of several coordinators that start at once does. */
export async function openCluster(store: Store): Promise<Cluster> {
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

export interface CoordinatorIdentity {
  id: string;
  /** Ports that were chosen when 0 was asked for: kept, so that agents find the coordinator again. */
  apiPort: number;
  agentPort: number;
}

/** This coordinator's own facts, in its data directory. */
export function openIdentity(dataDir: string): CoordinatorIdentity {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const file = join(dataDir, "coordinator.json");
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8")) as CoordinatorIdentity;
  const identity = { id: `coordinator-${randomBytes(4).toString("hex")}`, apiPort: 0, agentPort: 0 };
  saveIdentity(dataDir, identity);
  return identity;
}

export function saveIdentity(dataDir: string, identity: CoordinatorIdentity): void {
  writeFileAtomic(join(dataDir, "coordinator.json"), JSON.stringify(identity));
}

/** A new key and certificate of a coordinator. */
export async function certify(
  cluster: Cluster,
  id: string,
  hosts: string[],
): Promise<{ certificate: string; key: string }> {
  const { key, csr } = await createKeyAndCsr(id);
  const certificate = await issueCertificate(cluster.cluster, {
    csr,
    uri: coordinatorUri(cluster.id, id),
    ...alternativeNames([...hosts, "localhost", "127.0.0.1"]),
    days: nodeCertificateDays,
  });
  return { certificate, key };
}

/**
 * The administrator's token of this coordinator, in `<dataDir>/admin-token` (mode 0600): made at the first start,
 * and again when its record or its file is gone. Returns the token.
 */
export async function openAdminToken(store: Store, dataDir: string, cluster: Cluster): Promise<string> {
  const file = join(dataDir, "admin-token");
  if (existsSync(file)) {
    const { id, token } = JSON.parse(readFileSync(file, "utf8")) as { id: string; token: string };
    if (await store.get(keys.token(id))) return token;
  }
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
  writeFileAtomic(file, JSON.stringify({ id: minted.id, token: minted.token }));
  await settleTxn(store, {
    if: [],
    then: [{ type: "put", key: keys.token(minted.id), value: JSON.stringify(record) }],
  });
  return minted.token;
}
