/** What replicas and clients of an instance's OS state are told of each other, out of the store's records. Pure machine. */
import type { InstanceRecord, ReplicaRecord } from "../records.ts";
import type { Replica, Versioned } from "../replica/configuration.ts";
import type { ReplicaSet } from "../state/replica-set.ts";
import type { ClusterPicture } from "./cluster-picture.ts";

interface Told {
  nodes: ReadonlySet<string>;
  replicas: ReplicaSet;
  /** Without the revision, to see whether anything changed. */
  text: string;
}

/** What was told to whom: each node with a container or a replica of an instance hears of each change of its replicas. */
export class ReplicaSets {
  readonly #told = new Map<string, Told>();

  /** Looks at one instance again; returns whom to tell. */
  update(picture: ClusterPicture, key: string, uid: string): { node: string; replicas: ReplicaSet }[] {
    const record = picture.records.instances.get(key)?.record;
    const state = picture.records.states.get(uid);
    const configuration = state?.configuration?.record;
    const registered = [...(state?.replicas.values() ?? [])].map((replica) => replica.record);
    const replicas =
      record?.uid === uid
        ? replicaSetOf({
            record,
            configuration: {
              generation: picture.storeGeneration,
              version: configuration?.version ?? 0,
              configuration: configuration?.configuration ?? null,
            },
            replicas: registered,
            revision: picture.records.revision,
          })
        : null;
    if (!record || !replicas) {
      this.#told.delete(uid);
      return [];
    }
    const nodes = new Set([...record.placement, ...record.replicas, ...registered.map((r) => r.node)]);
    const text = JSON.stringify({ ...replicas, revision: 0 });
    const old = this.#told.get(uid);
    this.#told.set(uid, { nodes, replicas, text });
    const told = old?.text === text ? old.nodes : null;
    return [...nodes].filter((node) => !told?.has(node)).map((node) => ({ node, replicas }));
  }

  /** All that a node is to know, when it connects. */
  of(node: string): { uid: string; replicas: ReplicaSet }[] {
    return [...this.#told]
      .filter(([, { nodes }]) => nodes.has(node))
      .map(([uid, { replicas }]) => ({ uid, replicas }));
  }

  clear(): void {
    this.#told.clear();
  }
}

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
