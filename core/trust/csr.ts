/** Reads a certificate request. */
import { DvsError } from "../errors.ts";
import { loadX509 } from "./x509.ts";

/** The requester's public key, as the DER of its SubjectPublicKeyInfo. Throws INVALID for an unreadable request. */
export async function publicKeyOf(csr: string): Promise<Uint8Array> {
  const x509 = await loadX509();
  try {
    return new Uint8Array(new x509.Pkcs10CertificateRequest(csr).publicKey.rawData);
  } catch (cause) {
    throw new DvsError("INVALID", "The certificate request is not readable: it must be a PEM of PKCS #10.", {
      cause,
    });
  }
}
