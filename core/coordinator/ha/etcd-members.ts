/**
 * The members of an etcd cluster, changed by its member API. A machine joins as a learner, which changes no quorum:
 * the cluster waits for nobody while it copies the data, and a join that is never finished stops nothing.
 */
import { DvsError } from "../../errors.ts";
import { messageOf, type Gateway } from "../../store/etcd/gateway.ts";
import { pause } from "../pause.ts";

export interface EtcdMember {
  id: string;
  /** "" until it has started for the first time. */
  name: string;
  peerUrls: string[];
  clientUrls: string[];
  learner: boolean;
}

interface WireMember {
  ID: string;
  name?: string;
  peerURLs?: string[];
  clientURLs?: string[];
  isLearner?: boolean;
}

const retryMs = 300;
export async function listMembers(gateway: Gateway): Promise<EtcdMember[]> {
  const { members = [] } = (await ask(gateway, "list", {})) as {
    members?: WireMember[];
  };
  return members.map(({ ID, name, peerURLs, clientURLs, isLearner }) => ({
    id: ID,
    name: name ?? "",
    peerUrls: peerURLs ?? [],
    clientUrls: clientURLs ?? [],
    learner: isLearner === true,
  }));
}

/**
 * Makes this machine a member that has not started: in place of one that it was before and whose data is lost. Returns
 * all members, with this one among them. What etcd refuses now (another machine is joining, a member is not there yet)
 * it takes later, so it is asked until the signal aborts; throws the signal's reason then.
 */
export async function addLearner(
  gateway: Gateway,
  peerUrl: string,
  { dataKept, signal, tell }: { dataKept: boolean; signal: AbortSignal; tell: (why: string) => void },
): Promise<EtcdMember[]> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const members = await listMembers(gateway);
      const own = members.find((m) => m.peerUrls.includes(peerUrl));
      if (own && (dataKept || own.name === "")) return members;
      // Its data is lost: as the same member it would have forgotten what it has promised.
      if (own) await ask(gateway, "remove", { ID: own.id });
      await ask(gateway, "add", { peerURLs: [peerUrl], isLearner: true });
    } catch (e) {
      tell(`this machine cannot become a member of the store yet: ${messageOf(e)}`);
      await pause(retryMs, signal);
    }
  }
}

/** Gives a learner its vote, when it has caught up. */
export async function promote(
  gateway: Gateway,
  peerUrl: string,
  { signal, tell }: { signal: AbortSignal; tell: (why: string) => void },
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const own = (await listMembers(gateway)).find((m) => m.peerUrls.includes(peerUrl));
      if (!own)
        throw new DvsError("FAILED", "This machine was taken out of the store's members: join again.");
      if (!own.learner) return;
      await ask(gateway, "promote", { ID: own.id });
    } catch (e) {
      if (e instanceof DvsError) throw e;
      tell(`this machine has no vote in the store yet: ${messageOf(e)}`);
      await pause(retryMs, signal);
    }
  }
}

/** Harmless when it is none. */
export async function removeMember(gateway: Gateway, peerUrl: string): Promise<void> {
  const own = (await listMembers(gateway)).find((m) => m.peerUrls.includes(peerUrl));
  if (own) await ask(gateway, "remove", { ID: own.id });
}

/** One attempt at one member; the next attempt asks another. */
async function ask(gateway: Gateway, verb: string, body: object): Promise<unknown> {
  const { endpoint } = gateway;
  try {
    return await gateway.callAt(endpoint, `cluster/member/${verb}`, body);
  } catch (e) {
    gateway.leave(endpoint);
    throw e;
  }
}
