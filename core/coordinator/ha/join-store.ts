/** A machine asks the coordinators that there are for a certificate with which it can become a member of their store. */
import { CoordinatorJoinAnswer, type CoordinatorJoinRequest } from "../../api/coordinators.ts";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { createClient } from "../../transport/client.ts";
import type { TlsIdentity } from "../../transport/dial.ts";
import { createKeyAndCsr } from "../../trust/key.ts";
import { parseJoinToken } from "../../trust/tokens.ts";

const timeoutMs = 15_000;

export interface JoinedStore {
  /** PEM. */
  ca: string;
  identity: TlsIdentity;
  /** `https://host:port` of the members that there are. */
  endpoints: string[];
}

/**
 * Rejects with INVALID for what is no coordinator token, UNAUTHENTICATED for one that is unknown or expired, FAILED
 * where the store is not kept by --ha, UNAVAILABLE when no coordinator answers. May be repeated.
 */
export async function joinStore({
  token: text,
  id,
  host,
  signal,
}: {
  token: string;
  /** Of this coordinator. */
  id: string;
  /** Under which others reach it. */
  host: string;
  signal: AbortSignal;
}): Promise<JoinedStore> {
  const token = parseJoinToken(text, "dvsc");
  const { key, csr } = await createKeyAndCsr(id);
  const request: CoordinatorJoinRequest = { id: token.id, secret: token.secret, coordinator: id, host, csr };
  const client = createClient({ addresses: token.addresses, trust: { pin: token.caFingerprint } });
  try {
    const response = await client.request({
      method: "POST",
      path: "/v1/coordinators/join",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
      timeoutMs,
      idempotent: true,
      signal,
    });
    const body: unknown = await response.json().catch(() => null);
    if (!response.ok) throw DvsError.fromBody(body);
    const { certificate, ca, endpoints } = parseOrThrow(
      CoordinatorJoinAnswer,
      body,
      "answer to the coordinator's join",
    );
    return { ca, identity: { certificate, key }, endpoints };
  } finally {
    client.close();
  }
}
