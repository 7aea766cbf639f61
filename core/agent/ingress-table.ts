/** The table of this node's ingress: what the coordinator wants, with what runs here. */
import type { Desired } from "../agent-protocol.ts";
import type { IngressTable } from "../ingress/control.ts";

export function ingressTable(
  desired: Desired,
  locals: ReadonlyMap<string, { socket: string; incarnation: string }>,
  tls: IngressTable["tls"],
): IngressTable {
  return {
    node: desired.node,
    routes: desired.routes.map((route) => ({
      ...route,
      // This node's own container is reached by its Unix socket, never over the network.
      upstreams: route.upstreams.filter((u) => u.node !== desired.node.id),
      local: locals.get(route.uid) ?? null,
    })),
    tls,
  };
}
