/** Certificates for tests: proper ones, and every kind of wrong one that the project's own authority never issues. */
import { createAuthority, issueCertificate } from "../../../core/trust/authority.ts";
import type { Authority } from "../../../core/trust/authority.ts";
import { derOf } from "../../../core/trust/certificate.ts";
import { createKeyAndCsr } from "../../../core/trust/key.ts";
import {
  importPrivateKey,
  keyAlgorithm,
  loadX509,
  privateKeyPem,
  signingAlgorithm,
} from "../../../core/trust/x509.ts";
import type { TlsIdentity } from "../../../core/transport/dial.ts";

export const hourMs = 60 * 60_000;
export const dayMs = 24 * hourMs;

export function authority(name = "dvs cluster c1"): Promise<Authority> {
  return createAuthority(name);
}

/** As a coordinator issues it. */
export async function issued(from: Authority, uri: string, days = 30): Promise<TlsIdentity> {
  const { key, csr } = await createKeyAndCsr("test");
  return { key, certificate: await issueCertificate(from, { csr, uri, days }) };
}

export interface Forgery {
  uris: string[];
  use?: ("client" | "server")[];
  notBefore?: Date;
  notAfter?: Date;
  /** Signs itself instead of being signed by the authority. */
  selfSigned?: boolean;
}

/** Signed by the authority's key, whatever it says. */
export async function forged(from: Authority, of: Forgery): Promise<TlsIdentity> {
  const x509 = await loadX509();
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"]);
  const issuer = new x509.X509Certificate(derOf(from.certificate));
  const uses = { client: x509.ExtendedKeyUsage.clientAuth, server: x509.ExtendedKeyUsage.serverAuth };
  const certificate = await x509.X509CertificateGenerator.create({
    subject: "CN=forged",
    issuer: of.selfSigned ? "CN=forged" : issuer.subjectName,
    notBefore: of.notBefore ?? new Date(Date.now() - hourMs),
    notAfter: of.notAfter ?? new Date(Date.now() + dayMs),
    publicKey: keys.publicKey,
    signingKey: of.selfSigned ? keys.privateKey : await importPrivateKey(from.key),
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension((of.use ?? ["client", "server"]).map((u) => uses[u])),
      new x509.SubjectAlternativeNameExtension(of.uris.map((value) => ({ type: "url" as const, value }))),
    ],
  });
  const pem = `${certificate.toString("pem")}\n`;
  return {
    key: await privateKeyPem(keys.privateKey),
    certificate: of.selfSigned ? pem : pem + from.certificate,
  };
}

/** The message that it failed with. Fails when it did not fail. */
export async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (e) {
    return (e as Error).message;
  }
  throw new Error("it did not fail");
}
