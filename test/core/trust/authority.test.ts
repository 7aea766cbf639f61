import { expect, test } from "bun:test";
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { createAuthority, fingerprint, issueCertificate } from "../../../core/trust/authority.ts";
import { backdateMs, derOf, readCertificate } from "../../../core/trust/certificate.ts";
import { nodeUri, validityOf } from "../../../core/trust/identity.ts";
import { createKeyAndCsr } from "../../../core/trust/key.ts";
import { loadX509, signingAlgorithm } from "../../../core/trust/x509.ts";
import { dayMs, failure } from "./lab.ts";

const ca = await createAuthority("dvs cluster c1");
const uri = nodeUri("c1", "n1");

test("a certificate is signed by its authority, serves both sides and names what was asked for", async () => {
  const { csr } = await createKeyAndCsr("n1");
  const pem = await issueCertificate(ca, {
    csr,
    uri,
    dns: ["node-1.lan"],
    ips: ["127.0.0.1", "::1"],
    days: 30,
  });
  const certificate = new X509Certificate(derOf(pem));
  const issuer = new X509Certificate(derOf(ca.certificate));
  expect(certificate.verify(issuer.publicKey)).toBe(true);
  expect(certificate.checkIssued(issuer)).toBe(true);
  expect(certificate.ca).toBe(false);
  expect(certificate.subjectAltName).toBe(
    `URI:${uri}, DNS:node-1.lan, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1`,
  );
  expect(certificate.keyUsage?.toSorted()).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
});

test("a request is PKCS #10 as the library reads it: its name, its key, and the proof of it", async () => {
  const { Pkcs10CertificateRequest } = await loadX509();
  for (const name of ["n1", "", "ü, CN=other", "x".repeat(60), "y".repeat(300)]) {
    const { key, csr } = await createKeyAndCsr(name);
    const request = new Pkcs10CertificateRequest(csr);
    expect(await request.verify()).toBe(true);
    expect(request.subjectName.getField("CN")).toEqual([name]);
    const own = createPublicKey(createPrivateKey(key)).export({ type: "spki", format: "der" });
    expect(Buffer.from(request.publicKey.rawData).equals(own)).toBe(true);
    expect(request.extensions).toEqual([]);
  }
});

test("the authority's certificate follows the issued one, and its fingerprint is the SHA-256 of the DER", async () => {
  const { csr } = await createKeyAndCsr("n1");
  const pem = await issueCertificate(ca, { csr, uri, days: 30 });
  expect(pem.endsWith(ca.certificate)).toBe(true);
  const known = new X509Certificate(derOf(ca.certificate)).fingerprint256.replaceAll(":", "").toLowerCase();
  expect(fingerprint(ca.certificate)).toBe(known);
  expect(fingerprint(pem)).not.toBe(known);
});

test("nothing is copied from the request but its key", async () => {
  const x509 = await loadX509();
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ]);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=root",
    keys,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 5, true),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: "spiffe://c1/coordinator/k1" }]),
    ],
  });
  const pem = await issueCertificate(ca, { csr: csr.toString("pem"), uri, days: 1 });
  const certificate = new X509Certificate(derOf(pem));
  expect(readCertificate(derOf(pem)).uris).toEqual([uri]);
  expect(certificate.ca).toBe(false);
  expect(certificate.subject).toBe("CN=n1");
});

test("a request that does not prove its key is refused", async () => {
  const x509 = await loadX509();
  const { csr } = await createKeyAndCsr("n1");
  const raw = new Uint8Array(new x509.Pkcs10CertificateRequest(csr).rawData);
  raw[raw.length - 1]! ^= 1;
  const bent = x509.PemConverter.encode(raw.buffer, "CERTIFICATE REQUEST");
  expect(await failure(issueCertificate(ca, { csr: bent, uri, days: 1 }))).toContain("not signed by it");
  expect(await failure(issueCertificate(ca, { csr: "hello", uri, days: 1 }))).toContain("PKCS#10");
  expect(await failure(issueCertificate(ca, { csr: "", uri, days: 1 }))).toContain("PKCS#10");
});

test("keys of other kinds are refused", async () => {
  const x509 = await loadX509();
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-384" }, true, [
    "sign",
    "verify",
  ]);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({ name: "CN=n1", keys, signingAlgorithm });
  expect(await failure(issueCertificate(ca, { csr: csr.toString("pem"), uri, days: 1 }))).toContain(
    "only ECDSA P-256",
  );
});

test("a URI, host name or address that is none is refused", async () => {
  const { csr } = await createKeyAndCsr("n1");
  expect(await failure(issueCertificate(ca, { csr, uri: "spiffe://c1/admin/x", days: 1 }))).toContain(
    "not a URI",
  );
  expect(await failure(issueCertificate(ca, { csr, uri, dns: ["a b"], days: 1 }))).toContain("host name");
  expect(await failure(issueCertificate(ca, { csr, uri, ips: ["127.0.0.256"], days: 1 }))).toContain(
    "IP address",
  );
  expect(await failure(issueCertificate(ca, { csr, uri, days: 0 }))).toContain("for 0 days");
});

test("a certificate begins an hour before its issue and never outlives its authority", async () => {
  const { csr } = await createKeyAndCsr("n1");
  const now = new Date("2027-01-02T03:04:05Z");
  const short = validityOf(await issueCertificate(ca, { csr, uri, days: 30, now }));
  expect(short.notBeforeMs).toBe(now.getTime() - backdateMs);
  expect(short.notAfterMs).toBe(now.getTime() + 30 * dayMs);
  const long = validityOf(await issueCertificate(ca, { csr, uri, days: 100_000, now }));
  expect(long.notAfterMs).toBe(validityOf(ca.certificate).notAfterMs);
});
