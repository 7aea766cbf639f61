/**
 * A TLS 1.3 connection to a server whose identity is proven, or an error that says what failed.
 *
 * Every option that decides about trust is given explicitly: `rejectUnauthorized: true` wins over
 * NODE_TLS_REJECT_UNAUTHORIZED, and `ca` replaces the system's roots and NODE_EXTRA_CA_CERTS. Sessions are never
 * resumed: a ticket alone would stand for the certificate.
 */
import { isIP } from "node:net";
import { checkServerIdentity, connect } from "node:tls";
import type { ConnectionOptions, PeerCertificate, TLSSocket } from "node:tls";
import { DvsError } from "../errors.ts";
import { fingerprintOf, pemOf } from "../trust/certificate.ts";
import { parseAddress } from "./address.ts";
import { codeOf } from "./error-code.ts";
import { judgeCertificate, judgePeer } from "./peer.ts";
import type { PeerCheck } from "./peer.ts";

/** PEM both: the certificate, with its chain, and its private key. */
export interface TlsIdentity {
  certificate: string;
  key: string;
}

export interface DialOptions {
  /** `host:port`, `[v6]:port` */
  address: string;
  /** PEM of the one authority to trust. */
  ca: string;
  identity?: TlsIdentity | undefined;
  /** `host`: a server that is none of dvs; its certificate must name the host that was dialled. */
  check: PeerCheck | "host";
  /** For TCP and TLS together. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/**
 * Throws UNAVAILABLE when nobody answers, UNAUTHENTICATED when the certificate does not prove anything, FORBIDDEN
 * when it proves somebody who does not belong there. A TLS 1.3 server refuses *our* certificate only later: the
 * first read fails then.
 */
export async function dial(options: DialOptions): Promise<TLSSocket> {
  const { address, identity } = options;
  const { host } = parseAddress(address);
  const refusal = (certificate: PeerCertificate): string | null =>
    options.check === "host"
      ? (checkServerIdentity(host, certificate)?.message ?? null)
      : judgeCertificate(certificate.raw, options.check).refused;
  let refused: string | null = null;
  const socket = await open(options, {
    ca: options.ca,
    ...(identity ? { cert: identity.certificate, key: identity.key } : {}),
    rejectUnauthorized: true,
    checkServerIdentity: (_host, certificate) => {
      refused = refusal(certificate);
      return refused === null ? undefined : new Error(refused);
    },
  }).catch((e: unknown) => {
    throw refused === null ? e : impostor(address, refused);
  });
  // Again on the socket itself: a runtime that skips checkServerIdentity must not weaken us.
  const verdict =
    options.check === "host"
      ? socket.authorized
        ? refusal(socket.getPeerCertificate())
        : "not authorized by TLS"
      : judgePeer(socket, options.check).refused;
  if (verdict === null) return socket;
  socket.destroy();
  throw impostor(address, verdict);
}

/**
 * Finds the authority with this hash in the chain that a server shows. The chain is not verified here and nothing
 * is sent: the caller closes nothing, trusts nothing, and dials again with the authority as its `ca`.
 */
export async function fetchPinned(options: {
  address: string;
  pin: string;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}): Promise<string> {
  const socket = await open(options, { rejectUnauthorized: false });
  const chain: Uint8Array[] = [];
  try {
    let certificate = socket.getPeerCertificate(true) as PeerCertificate & {
      issuerCertificate?: PeerCertificate;
    };
    // A self-signed certificate is its own issuer; a chain of dvs has two.
    for (let depth = 0; depth < 8 && certificate?.raw; depth++) {
      chain.push(certificate.raw);
      if (!certificate.issuerCertificate || certificate.issuerCertificate === certificate) break;
      certificate = certificate.issuerCertificate;
    }
  } finally {
    socket.destroy();
  }
  const found = chain.find((der) => fingerprintOf(der) === options.pin);
  if (found) return pemOf(found);
  throw new DvsError(
    "UNAUTHENTICATED",
    `${options.address} is not a coordinator of this cluster: its certificates do not include the authority ` +
      `${options.pin.slice(0, 16)}… that the token names. Check the address, and that the token is of this cluster.`,
  );
}

function open(
  options: { address: string; timeoutMs: number; signal?: AbortSignal | undefined },
  tls: ConnectionOptions,
): Promise<TLSSocket> {
  const { address, timeoutMs, signal } = options;
  const { host, port } = parseAddress(address);
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const socket = connect({
      host,
      port,
      // SNI knows host names only.
      ...(isIP(host) === 0 ? { servername: host } : {}),
      minVersion: "TLSv1.3",
      ALPNProtocols: ["http/1.1"],
      ...tls,
    });
    const timer = setTimeout(() => fail(new DialTimeout(timeoutMs)), timeoutMs);
    const onAbort = () => fail(signal?.reason);
    const onClose = () => fail(Object.assign(new Error("closed"), { code: "ECONNRESET" }));
    signal?.addEventListener("abort", onAbort);
    socket.once("secureConnect", () => {
      settle();
      // Deno forgets it when it is set before the connection stands.
      socket.setNoDelay(true);
      resolve(socket);
    });
    socket.on("error", fail);
    socket.once("close", onClose);

    function settle() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.off("close", onClose);
      socket.off("error", fail);
      // Between here and the next owner an error must not be uncaught; the owner sees it as `destroyed`.
      socket.on("error", () => {});
    }
    function fail(e: unknown) {
      settle();
      socket.destroy();
      reject(signal?.aborted ? (signal.reason as Error) : dialError(address, e));
    }
  });
}

class DialTimeout extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
  }
}

/** OpenSSL's and the runtimes' codes for a certificate that proves nothing, in words. */
const certificateFaults: Record<string, string> = {
  CERT_HAS_EXPIRED: "its certificate has expired. If the machine's clock is right, restart the coordinator",
  CERT_NOT_YET_VALID: "its certificate is not valid yet. Compare the clocks of both machines",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed, not signed by the cluster's authority",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is signed by another authority than the cluster's",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is not signed by the cluster's authority, or not in date",
  UNABLE_TO_GET_ISSUER_CERT: "its certificate is signed by another authority than the cluster's",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is signed by another authority than the cluster's",
  CERT_SIGNATURE_FAILURE: "the signature of its certificate is wrong",
  INVALID_PURPOSE: "its certificate is not one of a server",
  CERT_UNTRUSTED: "its certificate is not signed by the cluster's authority",
};

const networkFaults: Record<string, string> = {
  ECONNREFUSED: "nothing listens there. Check that the coordinator runs, and the port",
  ENOTFOUND: "the host name is not known. Check its spelling and the DNS",
  EAI_AGAIN: "the host name cannot be looked up now. Check the DNS",
  EHOSTUNREACH: "there is no route to the host. Check the network and firewalls",
  ENETUNREACH: "there is no route to the network. Check the network and firewalls",
  ETIMEDOUT: "no answer. Check the network and firewalls",
  ECONNRESET: "the connection was closed during the TLS handshake",
  EPIPE: "the connection was closed during the TLS handshake",
};

function dialError(address: string, e: unknown): DvsError {
  if (e instanceof DvsError) return e;
  const code = codeOf(e);
  const text = e instanceof Error ? e.message : String(e);
  if (e instanceof DialTimeout) {
    return new DvsError("UNAVAILABLE", `Cannot reach ${address}: ${text}. Check the network and firewalls.`);
  }
  const certificate = certificateFaults[code];
  if (certificate) {
    return new DvsError("UNAUTHENTICATED", `Refused to talk to ${address}: ${certificate}.`, { cause: e });
  }
  const network = networkFaults[code];
  if (network) return new DvsError("UNAVAILABLE", `Cannot reach ${address}: ${network}.`, { cause: e });
  if (/CERT|ALTNAME/.test(code)) {
    return new DvsError("UNAUTHENTICATED", `Refused to talk to ${address}: ${text} (${code}).`, { cause: e });
  }
  return new DvsError("UNAVAILABLE", `Cannot reach ${address} by TLS 1.3: ${text} ${code && `(${code})`}.`, {
    cause: e,
  });
}

function impostor(address: string, refused: string): DvsError {
  return new DvsError("FORBIDDEN", `Refused to talk to ${address}: the peer is ${refused}.`);
}
