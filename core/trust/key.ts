/**
 * A private key and the request for a certificate of it. The key never leaves the host process that made it.
 *
 * The request (PKCS #10, RFC 2986) is so small that it is written here: every agent makes some, and the X.509 library
 * would cost each of them 10-30 ms and several MB. Whoever signs it reads it with the library and trusts nothing of it.
 */
import { generateKeyPair, sign } from "node:crypto";
import { promisify } from "node:util";
import { pemOf } from "./certificate.ts";
import { element, utf8String } from "./der-writer.ts";
import { keyAlgorithm } from "./x509.ts";

const sequence = 0x30;
const set = 0x31;
const bitString = 0x03;
/** [0] of CertificationRequestInfo: no attributes. */
const attributes = 0xa0;
/** INTEGER 0. */
const version = Uint8Array.of(0x02, 0x01, 0x00);
/** 2.5.4.3 */
const commonNameId = Uint8Array.of(0x06, 0x03, 0x55, 0x04, 0x03);
/** 1.2.840.10045.4.3.2 */
const ecdsaWithSha256 = Uint8Array.of(0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02);

/** PEM both. `commonName` is for people who look at the request; the authority does not copy it. */
export async function createKeyAndCsr(commonName: string): Promise<{ key: string; csr: string }> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)("ec", {
    namedCurve: keyAlgorithm.namedCurve,
  });
  const subject = element(sequence, element(set, element(sequence, commonNameId, utf8String(commonName))));
  const info = element(
    sequence,
    version,
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    element(attributes),
  );
  const signature = sign("sha256", info, privateKey);
  const request = element(
    sequence,
    info,
    element(sequence, ecdsaWithSha256),
    element(bitString, Uint8Array.of(0), signature),
  );
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
    csr: pemOf(request, "CERTIFICATE REQUEST"),
  };
}
