/**
 * Replicas take over with the help of a coordinator: it carries out the change of their configuration. Whether the loss
 * of one machine could take a replica and every coordinator along is said before it happens.
 */
import type { InstanceView, NodeView } from "../../api/views.ts";

export interface TakeoverRisk {
  /** Of every coordinator, without ports. */
  coordinatorHosts: readonly string[];
  instances: readonly InstanceView[];
  nodes: readonly NodeView[];
}

/** One line for each node whose machine is also the only coordinator's, and holds replicas that others could follow. */
export function takeoverWarnings({ coordinatorHosts, instances, nodes }: TakeoverRisk): string[] {
  if (new Set(coordinatorHosts).size > 1) return [];
  return nodes.flatMap((node) => {
    if (!coordinatorHosts.includes(node.address)) return [];
    const names = instances
      .filter(
        ({ state }) => state && state.policy.replicas > 1 && state.replicas.some((r) => r.node === node.id),
      )
      .map((instance) => instance.name);
    if (names.length === 0) return [];
    const which = names.length > 3 ? `${names.length} instances` : `instance ${names.join(", ")}`;
    return [
      `the machine of node ${node.name} also runs the only coordinator: if it is lost, the state of ${which} pauses until ` +
        `it is back, since nobody is left to let another replica take over. Run coordinators on three machines ` +
        `(--store etcd://…), or the one on a machine without replicas`,
    ];
  });
}
