/**
 * A certificate authority. A cluster has two, both kept in the store: the cluster authority signs coordinators and
 * nodes, the workload authority signs containers, so that no container's certificate can ever pass for a node's.
 *
 * The authority builds every certificate itself. Of a request it takes the public key and nothing else.
 */
import { isIP } from "node:net";
import { DvsError } from "../errors.ts";
import { backdateMs, derOf, fingerprint } from "./certificate.ts";
import { parseUri } from "./identity.ts";
import { importPrivateKey, keyAlgorithm, loadX509, privateKeyPem, signingAlgorithm } from "./x509.ts";

export { fingerprint };

/** PEM both: the self-signed certificate and its private key. */
export interface Authority {
  certificate: string;
  key: string;
}

export interface CertificateRequest {
  /** PEM; proves that the requester holds the private key. */
  csr: string;
  /** The one URI that says whose certificate it is: see identity.ts. */
  uri: string;
  /** Names and addresses where it serves: for foreign clients, dvs itself goes by the URI. */
  dns?: string[];
  ips?: string[];
  days: number;
  now?: Date;
}

const dayMs = 24 * 60 * 60_000;
const authorityYears = 10;

export async function createAuthority(name: string, now = new Date()): Promise<Authority> {
  const x509 = await loadX509();
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [name] }],
    notBefore: new Date(now.getTime() - backdateMs),
    notAfter: new Date(now.getTime() + authorityYears * 365 * dayMs),
    keys,
    signingAlgorithm,
    extensions: [
      // No authorities below this one.
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: `${certificate.toString("pem")}\n`, key: await privateKeyPem(keys.privateKey) };
}

/**
 * The certificate and, after it, the authority's: servers send both, so that a client that only knows the
 * authority's hash finds it in the chain. Throws INVALID for a request that does not prove its key.
 */
export async function issueCertificate(authority: Authority, request: CertificateRequest): Promise<string> {
  const x509 = await loadX509();
  if (parseUri(request.uri) === null) {
    throw new DvsError("INVALID", `Cannot issue a certificate for ${request.uri}: not a URI of this system.`);
  }
  if (!(request.days > 0)) {
    throw new DvsError("INVALID", `Cannot issue a certificate for ${request.days} days.`);
  }
  const publicKey = await provenKey(request.csr);
  const { issuer, signingKey, keyIdentifier } = await signerOf(authority);
  const now = (request.now ?? new Date()).getTime();
  const notAfter = Math.min(now + request.days * dayMs, issuer.notAfter.getTime());
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [request.uri.slice(request.uri.lastIndexOf("/") + 1)] }],
    issuer: issuer.subjectName,
    notBefore: new Date(now - backdateMs),
    notAfter: new Date(notAfter),
    publicKey,
    signingKey,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.clientAuth,
        x509.ExtendedKeyUsage.serverAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([
        { type: "url", value: request.uri },
        ...(request.dns ?? []).map((value) => ({ type: "dns" as const, value: dnsName(value) })),
        ...(request.ips ?? []).map((value) => ({ type: "ip" as const, value: ipAddress(value) })),
      ]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      keyIdentifier,
    ],
  });
  return `${certificate.toString("pem")}\n${authority.certificate}`;
}

/** What is the same for every certificate of an authority, read once: a third of what the first ones cost. */
function signerOf(authority: Authority) {
  let signer = signers.get(authority);
  if (!signer) {
    signer = readSigner(authority);
    signers.set(authority, signer);
    signer.catch(() => signers.delete(authority));
  }
  return signer;
}

const signers = new WeakMap<Authority, ReturnType<typeof readSigner>>();

async function readSigner({ certificate, key }: Authority) {
  const x509 = await loadX509();
  const issuer = new x509.X509Certificate(derOf(certificate));
  return {
    issuer,
    signingKey: await importPrivateKey(key),
    keyIdentifier: await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
  };
}

async function provenKey(csr: string) {
  const x509 = await loadX509();
  let request;
  try {
    request = new x509.Pkcs10CertificateRequest(csr);
  } catch (e) {
    throw new DvsError("INVALID", "Cannot read the certificate request: it must be PKCS#10 in PEM.", {
      cause: e,
    });
  }
  const algorithm = request.publicKey.algorithm as EcKeyAlgorithm;
  if (algorithm.name !== keyAlgorithm.name || algorithm.namedCurve !== keyAlgorithm.namedCurve) {
    throw new DvsError(
      "INVALID",
      `Cannot certify a key of type ${algorithm.name} ${algorithm.namedCurve ?? ""}: only ECDSA P-256 is accepted.`,
    );
  }
  if (!(await request.verify().catch(() => false))) {
    throw new DvsError("INVALID", "Cannot certify the key: the request is not signed by it.");
  }
  return request.publicKey;
}

/** 16 random bytes, positive and never shorter in DER. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

function dnsName(value: string): string {
  if (
    !/^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$/.test(
      value,
    )
  ) {
    throw new DvsError("INVALID", `Cannot issue a certificate for host name ${JSON.stringify(value)}.`);
  }
  return value;
}

function ipAddress(value: string): string {
  if (isIP(value) === 0) {
    throw new DvsError("INVALID", `Cannot issue a certificate for IP address ${JSON.stringify(value)}.`);
  }
  return value;
}
