/**
 * What dvs reads out of an X.509 certificate itself: the URIs of its subject and its validity. Whether the chain is
 * sound is TLS's business and has been decided before; this only says who the peer is.
 */
import { createHash } from "node:crypto";
import { DvsError } from "../errors.ts";
import { asciiText, children, content, DerError, expect, onlyChild, readWhole, tags, timeMs } from "./der.ts";
import type { Element } from "./der.ts";

/**
 * How far a certificate's beginning lies before its issue, for machines whose clocks are behind or are set back. A day:
 * an hour is what a wrong time zone or summer time makes.
 */
export const backdateMs = 24 * 60 * 60_000;

export interface CertificateFacts {
  /** Every URI among the subject's alternative names, in order. */
  uris: string[];
  notBeforeMs: number;
  notAfterMs: number;
}

const subjectAltName = "551d11";

/** Throws DerError when the bytes are not a certificate in strict DER. */
export function readCertificate(der: Uint8Array): CertificateFacts {
  const parts = children(readWhole(der, tags.sequence));
  if (parts.length !== 3) throw new DerError(`${parts.length} parts in a certificate`);
  // version [0], serial, signature, issuer, validity, subject, key; then the optional [1], [2] and [3].
  const body = children(expect(parts[0], tags.sequence));
  expect(body[0], 0xa0);
  const validity = children(expect(body[4], tags.sequence));
  if (validity.length !== 2) throw new DerError("validity");
  const [from, to] = validity as [Element, Element];
  const holders = body.slice(7).filter((e) => e.tag === tags.extensions);
  if (holders.length > 1) throw new DerError("two lists of extensions");
  const holder = holders[0];
  return {
    uris: holder ? urisOf(onlyChild(holder, tags.sequence)) : [],
    notBeforeMs: timeMs(from),
    notAfterMs: timeMs(to),
  };
}

function urisOf(extensions: Element): string[] {
  const found: Element[] = [];
  for (const extension of children(extensions)) {
    const fields = children(expect(extension, tags.sequence));
    const id = content(expect(fields[0], tags.objectId));
    if (hex(id) !== subjectAltName) continue;
    if (fields.length > 2) expect(fields[1], tags.boolean);
    if (fields.length < 2 || fields.length > 3) throw new DerError("fields of an extension");
    found.push(expect(fields.at(-1), tags.octetString));
  }
  if (found.length > 1) throw new DerError("two subjectAltName extensions");
  const value = found[0];
  if (!value) return [];
  return children(onlyChild(value, tags.sequence))
    .filter((name) => name.tag === tags.uri)
    .map(asciiText);
}

/** The first certificate of a PEM text as DER. Throws INVALID when there is none. */
export function derOf(certificatePem: string): Uint8Array<ArrayBuffer> {
  const m = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(certificatePem);
  if (!m?.[1])
    throw new DvsError("INVALID", "Not a certificate: no BEGIN CERTIFICATE block in the PEM text.");
  return new Uint8Array(Buffer.from(m[1], "base64"));
}

export function pemOf(der: Uint8Array, label = "CERTIFICATE"): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** SHA-256 of the first certificate's DER, 64 hex digits. */
export function fingerprint(certificatePem: string): string {
  return fingerprintOf(derOf(certificatePem));
}

export function fingerprintOf(der: Uint8Array): string {
  return createHash("sha256").update(der).digest("hex");
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
