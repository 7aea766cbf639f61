/** How an etcd cluster is: what is wrong, in words for people, and how many of its members may be lost. */
import type { StoreMembers } from "../store.ts";
import { type Gateway, messageOf } from "./gateway.ts";
import { settled } from "./patience.ts";

interface MemberStatus {
  leader?: string;
  errors?: string[];
}

interface MemberList {
  members?: { name?: string; clientURLs?: string[]; isLearner?: boolean }[];
}

/** A member that hangs must not hold back who asks. */
const patienceMs = 700;

export interface EtcdHealth {
  warnings: string[];
  /** Null while the members do not say: they have no majority. */
  members: StoreMembers | null;
}

/** Asks every endpoint. Never throws: what cannot be asked is a warning. */
export async function healthOf(gateway: Gateway): Promise<EtcdHealth> {
  const silent: string[] = [];
  const perMember = gateway.endpoints.map(async (endpoint) => {
    try {
      const status = await inTime<MemberStatus>(gateway, endpoint, "maintenance/status");
      const warnings = (status.errors ?? []).map((e) => `etcd ${endpoint}: ${e}`);
      if (!status.leader || status.leader === "0") warnings.push(`etcd ${endpoint} has no leader.`);
      return warnings;
    } catch (e) {
      silent.push(endpoint);
      return [`etcd ${messageOf(e)}`];
    }
  });
  const [warnings, list] = await Promise.all([Promise.all(perMember), listOf(gateway)]);
  const voters = list?.members?.filter((m) => m.isLearner !== true);
  return {
    warnings: warnings.flat(),
    members: voters ? { voters: voters.length, silent } : null,
  };
}

/** Of the first that answers. */
async function listOf(gateway: Gateway): Promise<MemberList | null> {
  const asked = gateway.endpoints.map((e) => inTime<MemberList>(gateway, e, "cluster/member/list"));
  return Promise.any(asked).catch(() => null);
}

async function inTime<T>(gateway: Gateway, endpoint: string, path: string): Promise<T> {
  const answer = gateway.callAt(endpoint, path, {});
  if (await settled(answer, patienceMs)) return (await answer) as T;
  throw new Error(`${endpoint}: no answer within ${patienceMs} ms`);
}
