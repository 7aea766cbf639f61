/** What is wrong with an etcd cluster, in words for people. */
import { type Gateway, messageOf } from "./gateway.ts";

interface MemberStatus {
  leader?: string;
  errors?: string[];
}

/** Asks every endpoint. Never throws: what cannot be asked is a warning. */
export async function warningsOf(gateway: Gateway): Promise<string[]> {
  const perMember = gateway.endpoints.map(async (endpoint) => {
    try {
      const status = (await gateway.callAt(endpoint, "maintenance/status", {})) as MemberStatus;
      const warnings = (status.errors ?? []).map((e) => `etcd ${endpoint}: ${e}`);
      if (!status.leader || status.leader === "0") warnings.push(`etcd ${endpoint} has no leader.`);
      return warnings;
    } catch (e) {
      return [`etcd ${messageOf(e)}`];
    }
  });
  return (await Promise.all(perMember)).flat();
}
