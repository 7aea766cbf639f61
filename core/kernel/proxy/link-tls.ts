/**
 * Links between nodes: TCP with mutual TLS 1.3. TLS verifies that the peer's certificate comes from the workload
 * authority; `judgePeer` on its raw DER that it is of a container of the same instance; the proof, that whoever has
 * its key is the kernel that the hello names, on the node that the view has for it.
 */
import { createHash, createPrivateKey, type KeyObject, sign, verify, X509Certificate } from "node:crypto";
import { connect, listen, type Stream, type StreamListener, type TlsOptions } from "../../platform/tcp.ts";
import { judgeCertificate, type PeerCheck } from "../../transport/peer.ts";
import { derOf } from "../../trust/certificate.ts";
import { instanceUri, parseIdentity, uriOf } from "../../trust/identity.ts";
import type { Member } from "../view.ts";
import type { Authenticator, Role } from "./authenticator.ts";
import type { Connection } from "./connection-machine.ts";
import { streamUserOf } from "./link-stream.ts";
import type { ProxiesMachine } from "./proxies-machine.ts";
import type { Wire } from "./wire.ts";

/** PEM all three; `ca` is the workload authority's certificate. */
export interface LinkCertificate {
  certificate: string;
  key: string;
  ca: string;
}

export interface TlsLinkOptions {
  listen: { host: string; port: number };
  /** `spiffe://…/t/<tenant>/i/<name>/<uid>`: of the instance whose containers may be at the other end. */
  instanceUri: string;
  /** The one in force; it is renewed now and then. Asked at each dial and each accepted stream. */
  certificate(): LinkCertificate;
}

/** Rejects with the system's error. `reload()` of the listener puts a renewed certificate in force. */
export async function listenTls(proxies: ProxiesMachine, options: TlsLinkOptions): Promise<TlsListener> {
  let own = ownCertificate(options.certificate());
  const accept = (stream: Stream) => {
    const connection = proxies.accept(stream, tlsAuthenticator("acceptor", own, stream.peerDer!, options));
    return connection && streamUserOf(connection);
  };
  const listener: StreamListener = await listen(options.listen, accept, tlsOptions(own, options));
  return {
    port: listener.port,
    stop: () => listener.stop(),
    reload() {
      own = ownCertificate(options.certificate());
      listener.reload!(tlsOptions(own, options));
    },
  };
}

export interface TlsListener extends StreamListener {
  reload(): void;
}

export function dialTls(member: Member, connection: Connection, options: TlsLinkOptions): Wire {
  const own = ownCertificate(options.certificate());
  const user = streamUserOf(connection, () =>
    connection.open(stream, tlsAuthenticator("dialler", own, stream.peerDer!, options)),
  );
  const address = { host: member.host, port: member.port };
  const stream = connect({ address, tls: tlsOptions(own, options) }, user);
  return stream;
}

/** A container of this instance, on whatever node. */
export function containerOf(wantedInstanceUri: string): PeerCheck {
  return (identity) =>
    identity.kind === "container" && instanceUri(identity) === wantedInstanceUri
      ? null
      : `${uriOf(identity)}, not a container of ${wantedInstanceUri}`;
}

/** What signs and is hashed for each link, taken from PEM once. */
interface OwnCertificate extends LinkCertificate {
  privateKey: KeyObject;
  leafHash: Uint8Array;
}

let lastOwn: OwnCertificate | null = null;

function ownCertificate(pem: LinkCertificate): OwnCertificate {
  if (lastOwn?.certificate === pem.certificate && lastOwn.key === pem.key && lastOwn.ca === pem.ca)
    return lastOwn;
  const privateKey = createPrivateKey(pem.key);
  lastOwn = { ...pem, privateKey, leafHash: sha256(derOf(pem.certificate)) };
  return lastOwn;
}

function tlsOptions(own: OwnCertificate, options: TlsLinkOptions): TlsOptions {
  const check = containerOf(options.instanceUri);
  return {
    certificate: own.certificate,
    key: own.key,
    ca: own.ca,
    verify: (peerDer) => {
      const { refused } = judgeCertificate(peerDer, check);
      return refused === null ? null : `the peer is ${refused}`;
    },
  };
}

function tlsAuthenticator(
  role: Role,
  own: OwnCertificate,
  peerDer: Uint8Array,
  options: TlsLinkOptions,
): Authenticator {
  const hashes = [own.leafHash, sha256(peerDer)];
  if (role === "acceptor") hashes.reverse();
  const peer = parseIdentity(peerDer);
  return {
    binding: Buffer.concat(hashes),
    refuses(member) {
      const wanted = `${options.instanceUri}/node/${member.node}`;
      if (!peer || peer.kind !== "container") return "no container";
      return uriOf(peer) === wanted ? null : `${uriOf(peer)}, not ${wanted}`;
    },
    prove: (transcript) => sign("sha256", transcript, own.privateKey),
    verify(transcript, proof) {
      try {
        return verify("sha256", transcript, new X509Certificate(peerDer).publicKey, proof);
      } catch {
        // A proof that is no signature at all.
        return false;
      }
    },
  };
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}
