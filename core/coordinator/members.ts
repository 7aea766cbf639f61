/**
 * The coordinators of a cluster and where they are reached. Each writes its addresses down before it waits for its
 * turn, so that tokens and joining nodes carry all of them, and find the one that acts.
 */
import { z } from "zod";
import { keys } from "../records.ts";
import { settleTxn } from "../store/settle.ts";
import type { Store } from "../store/store.ts";

const MemberRecord = z.object({ api: z.string(), agents: z.string() });
export type MemberRecord = z.infer<typeof MemberRecord>;

export async function registerMember(store: Store, id: string, record: MemberRecord): Promise<void> {
  const value = JSON.stringify(record);
  if ((await store.get(keys.coordinator(id)))?.value === value) return;
  await settleTxn(store, { if: [], then: [{ type: "put", key: keys.coordinator(id), value }] });
}

/** Of all coordinators that are known, this one first. */
export async function memberAddresses(
  store: Store,
  own: MemberRecord,
): Promise<{ api: string[]; agents: string[] }> {
  const { kvs } = await store.range(keys.coordinators);
  const all = [own, ...kvs.map((kv) => MemberRecord.parse(JSON.parse(kv.value)))];
  return { api: [...new Set(all.map((m) => m.api))], agents: [...new Set(all.map((m) => m.agents))] };
}
