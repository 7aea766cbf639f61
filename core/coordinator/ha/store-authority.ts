/**
 * The authority of the store's members: theirs alone, since the cluster's own authorities lie in the store that it
 * protects. Whoever has a certificate of it reads and writes the whole store; only coordinators get one.
 */
import { z } from "zod";
import { keys } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { Store } from "../../store/store.ts";
import type { TlsIdentity } from "../../transport/dial.ts";
import { issueCertificate, type Authority } from "../../trust/authority.ts";
import { createKeyAndCsr } from "../../trust/key.ts";
import { alternativeNames } from "../options.ts";

/** Longer than a machine is likely to be off: with an expired one it cannot even fetch another. */
const certificateDays = 365;
/** Coordinators of any cluster: which one is not known when the first of these is made. */
const clusterName = "store";

const AuthorityRecord = z.object({ certificate: z.string(), key: z.string() });

/** Null where no coordinator was started with --ha. */
export async function readStoreAuthority(store: Store): Promise<Authority | null> {
  const kv = await store.get(keys.storeAuthority);
  return kv ? AuthorityRecord.parse(JSON.parse(kv.value)) : null;
}

export async function keepStoreAuthority(store: Store, authority: Authority): Promise<void> {
  await settleTxn(store, {
    if: [{ key: keys.storeAuthority, target: "create", op: "=", value: 0 }],
    then: [{ type: "put", key: keys.storeAuthority, value: JSON.stringify(authority) }],
  });
}

/** For server, peer and client alike. 127.0.0.1 is how a machine reaches itself. */
export function signMember(authority: Authority, csr: string, id: string, hosts: string[]): Promise<string> {
  return issueCertificate(authority, {
    csr,
    uri: `spiffe://${clusterName}/coordinator/${id}`,
    ...alternativeNames([...hosts, "localhost", "127.0.0.1"]),
    days: certificateDays,
  });
}

export async function makeMemberIdentity(
  authority: Authority,
  id: string,
  hosts: string[],
): Promise<TlsIdentity> {
  const { key, csr } = await createKeyAndCsr(id);
  return { key, certificate: await signMember(authority, csr, id, hosts) };
}
