/** What replicas and clients of an instance's OS state are told of each other, out of the store's records. Pure machine. */
import type { InstanceRecord, ReplicaRecord } from "../records.ts";
import type { Replica, Versioned } from "../replica/configuration.ts";
import type { ReplicaSet } from "../state/replica-set.ts";

/** Null for an instance without OS state. `replicas` are the registered ones, in any order. */
export function replicaSetOf(of: {
  record: Pick<InstanceRecord, "spec" | "replicas">;
  configuration: Versioned;
  replicas: readonly ReplicaRecord[];
  revision: number;
}): ReplicaSet | null {
  const { record, configuration, revision } = of;
  const policy = record.spec.state;
  if (!policy) return null;
  const registered = [...of.replicas].sort((a, b) => (a.node < b.node ? -1 : 1));
  const inSync = configuration.configuration?.inSync ?? [];
  const leaving = registered.filter((r) => !record.replicas.includes(r.node) && inSync.includes(r.disk));
  return {
    revision,
    configuration,
    policy: { replicas: policy.replicas, minInSync: policy.minInSync, durability: policy.durability },
    wanted: record.replicas.map((node) => {
      const known = registered.find((r) => r.node === node);
      return known ? replicaOf(known) : unregistered(node);
    }),
    leaving: leaving.map(replicaOf),
    exits: registered.flatMap((r) => r.exits),
  };
}

function replicaOf({ node, disk, incarnation, unix, host, port }: ReplicaRecord): Replica {
  return { node, disk, incarnation, unix, host, port };
}

function unregistered(node: string): Replica {
  return { node, disk: null, incarnation: null, unix: "", host: "", port: 0 };
}
