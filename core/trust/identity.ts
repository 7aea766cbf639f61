/**
 * Who a certificate stands for: exactly one URI among its alternative names, in one of three forms.
 *
 *   spiffe://<cluster>/node/<id>                                  the agent and the ingress of a machine
 *   spiffe://<cluster>/coordinator/<id>                           a coordinator
 *   spiffe://<cluster>/t/<tenant>/i/<instance>/<uid>/node/<id>    the container of an instance on a node
 *
 * Call parseIdentity only with a certificate whose chain TLS has verified: it says what the certificate claims.
 */
import { DvsError } from "../errors.ts";
import { backdateMs, derOf, readCertificate } from "./certificate.ts";
import { DerError } from "./der.ts";

export interface NodeIdentity {
  kind: "node";
  clusterId: string;
  nodeId: string;
}
export interface CoordinatorIdentity {
  kind: "coordinator";
  clusterId: string;
  id: string;
}
export interface ContainerIdentity {
  kind: "container";
  clusterId: string;
  tenant: string;
  instance: string;
  uid: string;
  nodeId: string;
}
export type Identity = NodeIdentity | CoordinatorIdentity | ContainerIdentity;

/** Null when the certificate is malformed, or names nobody, or more than one. */
export function parseIdentity(derCertificate: Uint8Array): Identity | null {
  try {
    const { uris } = readCertificate(derCertificate);
    const [uri] = uris;
    return uris.length === 1 && uri !== undefined ? parseUri(uri) : null;
  } catch (e) {
    if (e instanceof DerError) return null;
    throw e;
  }
}

const name = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const id = "[A-Za-z0-9][A-Za-z0-9_-]{0,62}";
const cluster = "[a-z0-9][a-z0-9_-]{0,62}";
const nodeForm = new RegExp(`^spiffe://(${cluster})/node/(${id})$`);
const coordinatorForm = new RegExp(`^spiffe://(${cluster})/coordinator/(${id})$`);
const containerForm = new RegExp(`^spiffe://(${cluster})/t/(${name})/i/(${name})/(${id})/node/(${id})$`);

export function parseUri(uri: string): Identity | null {
  let m = nodeForm.exec(uri);
  if (m) return { kind: "node", clusterId: m[1]!, nodeId: m[2]! };
  m = coordinatorForm.exec(uri);
  if (m) return { kind: "coordinator", clusterId: m[1]!, id: m[2]! };
  m = containerForm.exec(uri);
  if (!m) return null;
  return { kind: "container", clusterId: m[1]!, tenant: m[2]!, instance: m[3]!, uid: m[4]!, nodeId: m[5]! };
}

export function nodeUri(clusterId: string, nodeId: string): string {
  return checked(`spiffe://${clusterId}/node/${nodeId}`);
}

export function coordinatorUri(clusterId: string, id: string): string {
  return checked(`spiffe://${clusterId}/coordinator/${id}`);
}

export function containerUri(of: Omit<ContainerIdentity, "kind">): string {
  return checked(`${instanceUri(of)}/node/${of.nodeId}`);
}

/** A container's URI without its node: what all containers of one instance share (`Route.uri`). */
export function instanceUri(
  of: Pick<ContainerIdentity, "clusterId" | "tenant" | "instance" | "uid">,
): string {
  return `spiffe://${of.clusterId}/t/${of.tenant}/i/${of.instance}/${of.uid}`;
}

export function uriOf(identity: Identity): string {
  if (identity.kind === "node") return nodeUri(identity.clusterId, identity.nodeId);
  if (identity.kind === "coordinator") return coordinatorUri(identity.clusterId, identity.id);
  return containerUri(identity);
}

/** When a certificate is valid, and when to ask for the next one. All in milliseconds since 1970. */
export interface Validity {
  notBeforeMs: number;
  notAfterMs: number;
  /** A third of its life after its issue: two thirds remain for a coordinator that is away. */
  renewAtMs: number;
}

/** Throws INVALID when the text is no certificate. */
export function validityOf(certificatePem: string): Validity {
  const { notBeforeMs, notAfterMs } = factsOf(certificatePem);
  const issuedAtMs = Math.min(notBeforeMs + backdateMs, notAfterMs);
  return { notBeforeMs, notAfterMs, renewAtMs: issuedAtMs + Math.floor((notAfterMs - issuedAtMs) / 3) };
}

export function renewAt(certificatePem: string): number {
  return validityOf(certificatePem).renewAtMs;
}

function factsOf(certificatePem: string) {
  try {
    return readCertificate(derOf(certificatePem));
  } catch (e) {
    if (!(e instanceof DerError)) throw e;
    throw new DvsError("INVALID", `Cannot read the certificate: ${e.message}.`, { cause: e });
  }
}

function checked(uri: string): string {
  if (parseUri(uri) === null) {
    throw new DvsError(
      "INVALID",
      `Cannot name a certificate ${uri}: a part of it is not a valid id or name.`,
    );
  }
  return uri;
}
