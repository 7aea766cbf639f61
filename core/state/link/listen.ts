/**
 * Where the host processes of an instance reach a state process, and how they dial it: by Unix socket on one node, by
 * mutual TLS with the certificates of the instance between nodes.
 */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import type { LinkCertificate } from "../../kernel/proxy/link-tls.ts";
import { containerOf } from "../../kernel/proxy/link-tls.ts";
import {
  connect,
  listen,
  type Stream,
  type StreamListener,
  type StreamUser,
  type TlsOptions,
} from "../../platform/tcp.ts";
import { judgeCertificate } from "../../transport/peer.ts";
import { parseIdentity } from "../../trust/identity.ts";
import { Link, type LinkTerms, type LinkUser } from "./link.ts";
import type { Hello } from "./handshake.ts";

export interface LinkIdentity extends Omit<LinkTerms, "secret" | "peerNode" | "nonce"> {
  /** The same for all host processes of the instance on this node. */
  secret: Uint8Array;
  /** Null: an instance on one node. `certificate()` gives the one in force; it is renewed now and then. */
  tls: { instanceUri: string; certificate(): LinkCertificate } | null;
}

export interface StateListener {
  /** 0 without TLS. */
  readonly port: number;
  /** `certificate()` gives another one from now on. */
  renewed(): void;
  stop(): void;
}

export interface ListenOptions {
  identity: LinkIdentity;
  socket: string;
  host: string;
  /** 0: any; another where it is taken. */
  port: number;
  judge: (hello: Hello) => string | null;
  user: LinkUser;
}

/** Rejects with the system's error. */
export async function listenState(options: ListenOptions): Promise<StateListener> {
  const { identity, socket, host, port, user, judge } = options;
  const accept = (terms: LinkTerms) => (stream: Stream) => Link.accepting(stream, terms, user, judge);
  rmSync(socket, { force: true });
  const unix = await listen({ socket }, accept(termsOf(identity, null)));
  if (!identity.tls) return { port: 0, renewed() {}, stop: () => unix.stop() };
  let tls: StreamListener;
  const acceptTls = (stream: Stream) => accept(termsOf(identity, nodeOf(stream)))(stream);
  const open = (at: number) => listen({ host, port: at }, acceptTls, tlsOptions(identity));
  try {
    tls = await open(port).catch((e: NodeJS.ErrnoException) => {
      if (port === 0 || e.code !== "EADDRINUSE") throw e;
      return open(0);
    });
  } catch (e) {
    unix.stop();
    throw e;
  }
  return {
    port: tls.port,
    renewed: () => tls.reload!(tlsOptions(identity)!),
    stop() {
      unix.stop();
      tls.stop();
    },
  };
}

export interface DialOptions {
  identity: LinkIdentity;
  /** Where its links listen. */
  to: { node: string; unix: string; host: string; port: number };
  role: "replica" | "client";
  /** Empty: whichever replica is there. */
  toDisk: string;
  user: LinkUser;
}

/** Never throws: what fails is told to `user.onClose`. */
export function dialState({ identity, to, role, toDisk, user }: DialOptions): Link {
  const local = to.node === identity.node;
  const link = Link.dialling(termsOf(identity, local ? null : to.node), user, role, toDisk);
  const tls = local ? null : tlsOptions(identity, to.node);
  if (!local && !tls) {
    queueMicrotask(() => link.destroy(`no way to node ${to.node}: there is no certificate`));
    return link;
  }
  const address = local ? { socket: to.unix } : { host: to.host, port: to.port };
  const opening: StreamUser = link;
  link.attach(connect({ address, tls }, opening));
  return link;
}

function termsOf(identity: LinkIdentity, peerNode: string | null): LinkTerms {
  const { instance, node, incarnation, disk } = identity;
  const secret = peerNode === null ? identity.secret : null;
  return {
    instance,
    node,
    incarnation,
    disk,
    secret,
    peerNode,
    nonce: () => new Uint8Array(randomBytes(16)),
  };
}

function nodeOf(stream: Stream): string {
  const identity = stream.peerDer ? parseIdentity(stream.peerDer) : null;
  // `verify` has accepted only containers.
  return identity?.kind === "container" ? identity.nodeId : "";
}

function tlsOptions({ tls }: LinkIdentity, node?: string): TlsOptions | null {
  if (!tls) return null;
  const { certificate, key, ca } = tls.certificate();
  const isOurs = containerOf(tls.instanceUri);
  return {
    certificate,
    key,
    ca,
    verify(peerDer) {
      const { identity, refused } = judgeCertificate(peerDer, isOurs);
      if (refused !== null) return `the peer is ${refused}`;
      const at = identity.kind === "container" ? identity.nodeId : "";
      return node === undefined || at === node ? null : `the peer is on node ${at}, not on ${node}`;
    },
  };
}
