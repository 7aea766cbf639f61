/** How a container on another node is reached: mutual TLS, and its certificate names instance and node. */
import type { RouteUpstream } from "../agent-protocol.ts";
import type { Target } from "../platform/tcp.ts";
import { parseIdentity, uriOf } from "../trust/identity.ts";
import type { IngressTable } from "./control.ts";

export function targetOf(upstream: RouteUpstream, instanceUri: string, tls: IngressTable["tls"]): Target {
  const { host, port, node } = upstream;
  // Plain TCP is for benchmarks: a table without an authority is never made by an agent.
  if (tls.ca === "") return { address: { host, port }, tls: null };
  const wanted = `${instanceUri}/node/${node}`;
  return {
    address: { host, port },
    tls: {
      ...tls,
      verify(peerDer) {
        const identity = parseIdentity(peerDer);
        if (identity === null) return "the peer's certificate names nobody";
        const found = uriOf(identity);
        return found === wanted ? null : `the peer is ${found}, not ${wanted}`;
      },
    },
  };
}
