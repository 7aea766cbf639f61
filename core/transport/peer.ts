/**
 * Who may be at the other end. TLS has verified that a certificate comes from our authority and is in date; this
 * decides whether its owner is the one that belongs there. Both sides of every link of dvs ask it.
 */
import type { TLSSocket } from "node:tls";
import { parseIdentity, uriOf } from "../trust/identity.ts";
import type { Identity } from "../trust/identity.ts";

/** Null to accept, or why not, in words that follow "the peer is …": `node n2, not a coordinator`. */
export type PeerCheck = (identity: Identity) => string | null;

/** Only these kinds, and only of this cluster when one is given. */
export function peerOf(kinds: readonly Identity["kind"][], clusterId?: string): PeerCheck {
  return (identity) => {
    if (clusterId !== undefined && identity.clusterId !== clusterId) {
      return `${uriOf(identity)}, of another cluster than ${clusterId}`;
    }
    return kinds.includes(identity.kind) ? null : `${uriOf(identity)}, not a ${kinds.join(" or ")}`;
  };
}

/** The container of one instance (`Route.uri`) on one node. */
export function containerAt(instanceUri: string, nodeId: string): PeerCheck {
  const wanted = `${instanceUri}/node/${nodeId}`;
  return (identity) => {
    const uri = uriOf(identity);
    return uri === wanted ? null : `${uri}, not ${wanted}`;
  };
}

/** The identity behind a socket, or why there is none. `refused` follows "the peer is …". */
export type PeerVerdict = { identity: Identity; refused: null } | { identity: null; refused: string };

/**
 * Judges the certificate of a connected TLS socket. Never true for a socket that TLS did not authorize: the
 * certificate of a stranger can be read from such a socket as well.
 */
export function judgePeer(socket: TLSSocket, check: PeerCheck): PeerVerdict {
  if (!socket.authorized) return { identity: null, refused: "not authorized by TLS" };
  const raw = (socket.getPeerCertificate() as { raw?: Uint8Array } | null)?.raw;
  if (!raw) return { identity: null, refused: "without a certificate" };
  return judgeCertificate(raw, check);
}

export function judgeCertificate(der: Uint8Array, check: PeerCheck): PeerVerdict {
  const identity = parseIdentity(der);
  if (!identity)
    return { identity: null, refused: "nobody: its certificate must carry exactly one URI of dvs" };
  const refused = check(identity);
  return refused === null ? { identity, refused } : { identity: null, refused };
}
