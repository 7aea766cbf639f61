import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { backdateMs, derOf, readCertificate } from "../../../core/trust/certificate.ts";
import { DerError } from "../../../core/trust/der.ts";
import {
  containerUri,
  coordinatorUri,
  instanceUri,
  nodeUri,
  parseIdentity,
  parseUri,
  renewAt,
  uriOf,
  validityOf,
} from "../../../core/trust/identity.ts";
import type { Identity } from "../../../core/trust/identity.ts";
import { authority, dayMs, forged, issued } from "./lab.ts";

const ca = await authority();
const node = await issued(ca, nodeUri("c1", "n1"));
const container = {
  clusterId: "c1",
  tenant: "default",
  instance: "web",
  uid: "u1",
  nodeId: "n1",
};

describe("an identity", () => {
  test("of each kind comes back from the certificate that was issued for it", async () => {
    const all: Identity[] = [
      { kind: "node", clusterId: "c1", nodeId: "n1" },
      { kind: "coordinator", clusterId: "c1", id: "k1" },
      { kind: "container", ...container },
    ];
    for (const identity of all) {
      const { certificate } = await issued(ca, uriOf(identity));
      expect(parseIdentity(derOf(certificate))).toEqual(identity);
    }
    expect(coordinatorUri("c1", "k1")).toBe("spiffe://c1/coordinator/k1");
    expect(containerUri(container)).toBe(`${instanceUri(container)}/node/n1`);
  });

  test("is nobody's with two URIs, or none", async () => {
    const two = await forged(ca, { uris: [nodeUri("c1", "n1"), coordinatorUri("c1", "k1")] });
    const twice = await forged(ca, { uris: [nodeUri("c1", "n1"), nodeUri("c1", "n1")] });
    const none = await forged(ca, { uris: [] });
    expect([two, twice, none].map((i) => parseIdentity(derOf(i.certificate)))).toEqual([null, null, null]);
  });

  test("is not got by a URI that looks like two in a text form", async () => {
    for (const uri of [
      "spiffe://c1/node/n1, URI:spiffe://c1/coordinator/0",
      "spiffe://c1/node/n1,URI:spiffe://c1/node/n2",
      'spiffe://c1/node/n1", URI:"spiffe://c1/node/n2',
    ]) {
      const { certificate } = await forged(ca, { uris: [uri] });
      expect(readCertificate(derOf(certificate)).uris).toEqual([uri]);
      expect(parseIdentity(derOf(certificate))).toBeNull();
    }
  });

  test("has no other spelling", () => {
    for (const uri of [
      "spiffe://c1/node/",
      "spiffe://c1/node/n1/",
      "spiffe://c1/node/n1?x",
      "spiffe://c1/node/n1#x",
      "spiffe://c1/node/n1\n",
      "spiffe://c1/node/n%31",
      "spiffe://c1/node/../node/n1",
      "spiffe://C1/node/n1",
      "SPIFFE://c1/node/n1",
      "https://c1/node/n1",
      "spiffe://c1:1/node/n1",
      "spiffe://u@c1/node/n1",
      "spiffe:///node/n1",
      "spiffe://c1/t/default/i/web/u1",
      "spiffe://c1/t/default/i/web/u1/node/",
      "spiffe://c1/t/default/i/Web/u1/node/n1",
      `spiffe://c1/node/${"n".repeat(64)}`,
    ]) {
      expect([uri, parseUri(uri)]).toEqual([uri, null]);
    }
  });

  test("cannot be named with parts that would change its form", () => {
    expect(() => nodeUri("c1", "n1/coordinator")).toThrow("not a valid id");
    expect(() => nodeUri("c1/node/x", "n1")).toThrow("not a valid id");
    expect(() => containerUri({ ...container, instance: "web/u2" })).toThrow("not a valid id");
  });

  test("survives its own URI for all valid parts", () => {
    const id = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/);
    const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
    const cluster = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,62}$/);
    fc.assert(
      fc.property(cluster, name, name, id, id, (clusterId, tenant, instance, uid, nodeId) => {
        const identity: Identity = { kind: "container", clusterId, tenant, instance, uid, nodeId };
        expect(parseUri(uriOf(identity))).toEqual(identity);
      }),
    );
  });
});

describe("the DER reader", () => {
  const der = derOf(node.certificate);

  test("throws nothing but DerError, whatever the bytes", () => {
    const bytes = fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(bytes, (b) => void parseIdentity(b)),
      { numRuns: 2_000 },
    );
  });

  test("gives a certificate with changed bytes no identity that was not in it, and never fails otherwise", () => {
    const edit = fc.record({ at: fc.nat(der.length - 1), byte: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        const copy = der.slice();
        for (const { at, byte } of edits) copy[at] = byte;
        const identity = parseIdentity(copy);
        // Changing characters inside the URI is another name; what must not appear is another kind of thing.
        if (identity) expect(Buffer.from(copy).includes(uriOf(identity))).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });

  test("refuses every cut and every extension of a certificate", () => {
    for (let length = 0; length < der.length; length++)
      expect(parseIdentity(der.slice(0, length))).toBeNull();
    expect(parseIdentity(new Uint8Array([...der, 0]))).toBeNull();
  });

  test("refuses indefinite and overlong lengths", () => {
    const inner = der.slice(4);
    expect(() => readCertificate(new Uint8Array([0x30, 0x80, ...inner, 0, 0]))).toThrow(DerError);
    expect(() => readCertificate(new Uint8Array([0x30, 0x83, 0, der[2]!, der[3]!, ...inner]))).toThrow(
      "shortest",
    );
    expect(() => readCertificate(new Uint8Array([0x30, 0x84, 0, 0, der[2]!, der[3]!, ...inner]))).toThrow(
      DerError,
    );
  });

  test("takes a second subjectAltName extension for an attack", () => {
    // Append a copy of the extension to the list by hand: SEQUENCE { 2.5.29.17, OCTET STRING { SEQUENCE { [6] } } }.
    const uri = Buffer.from("spiffe://c1/node/n2");
    const names = tlv(0x30, tlv(0x86, uri));
    const extension = tlv(0x30, Buffer.concat([Buffer.from([6, 3, 0x55, 0x1d, 0x11]), tlv(0x04, names)]));
    const one = certificateWith([extension]);
    expect(parseIdentity(one)).toEqual({ kind: "node", clusterId: "c1", nodeId: "n2" });
    expect(parseIdentity(certificateWith([extension, extension]))).toBeNull();
    expect(() => readCertificate(certificateWith([extension, extension]))).toThrow("two subjectAltName");
  });

  test("refuses a NUL inside a URI", () => {
    const names = tlv(0x30, tlv(0x86, Buffer.from("spiffe://c1/node/n2\0.evil")));
    const extension = tlv(0x30, Buffer.concat([Buffer.from([6, 3, 0x55, 0x1d, 0x11]), tlv(0x04, names)]));
    expect(() => readCertificate(certificateWith([extension]))).toThrow("byte 0");
  });
});

describe("validity", () => {
  test("is read to the second, and renewal is due after a third of the life", () => {
    const { notBeforeMs, notAfterMs, renewAtMs } = validityOf(node.certificate);
    expect(notAfterMs - notBeforeMs).toBe(30 * dayMs + backdateMs);
    expect(renewAtMs).toBe(notBeforeMs + backdateMs + 10 * dayMs);
    expect(renewAt(node.certificate)).toBe(renewAtMs);
  });

  test("after 2049 is read as well", async () => {
    const notAfter = new Date("2061-03-04T05:06:07Z");
    const { certificate } = await forged(ca, { uris: [], notAfter });
    expect(validityOf(certificate).notAfterMs).toBe(notAfter.getTime());
  });

  test("of what is no certificate is refused", () => {
    expect(() => validityOf("nonsense")).toThrow("Not a certificate");
    expect(() => validityOf("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----")).toThrow(
      "Cannot read",
    );
  });
});

function tlv(tag: number, content: Uint8Array): Buffer {
  const n = content.length;
  const length = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

/** The skeleton of a certificate; only what the reader looks at has content. */
function certificateWith(extensions: Buffer[]): Uint8Array {
  const empty = tlv(0x30, Buffer.alloc(0));
  const time = tlv(0x17, Buffer.from("260101000000Z"));
  const body = Buffer.concat([
    tlv(0xa0, Buffer.from([2, 1, 2])),
    tlv(0x02, Buffer.from([1])),
    empty,
    empty,
    tlv(0x30, Buffer.concat([time, time])),
    empty,
    empty,
    tlv(0xa3, tlv(0x30, Buffer.concat(extensions))),
  ]);
  return new Uint8Array(tlv(0x30, Buffer.concat([tlv(0x30, body), empty, tlv(0x03, Buffer.from([0]))])));
}
