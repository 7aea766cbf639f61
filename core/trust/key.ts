/** A private key and the request for a certificate of it. The key never leaves the host process that made it. */
import { keyAlgorithm, loadX509, privateKeyPem, signingAlgorithm } from "./x509.ts";

/** PEM both. `commonName` is for people who look at the request; the authority does not copy it. */
export async function createKeyAndCsr(commonName: string): Promise<{ key: string; csr: string }> {
  const x509 = await loadX509();
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"]);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm,
  });
  return { key: await privateKeyPem(keys.privateKey), csr: `${csr.toString("pem")}\n` };
}
