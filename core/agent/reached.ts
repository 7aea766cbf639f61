/** How this node reaches the replicas of an instance, and clients of its state that go that way. */
import { DvsError } from "../errors.ts";
import { StateClient } from "../state/client/state-client.ts";
import type { LinkIdentity } from "../state/link/listen.ts";
import type { ReplicaAddress } from "../state/replica-set.ts";

export interface Reached {
  identity: Omit<LinkIdentity, "incarnation">;
  replicas: ReplicaAddress[];
}

/** Null where this node has nothing of the instance. */
export type Reach = (uid: string) => Promise<Reached | null>;

/** A client under a name of its own; whoever opens it closes it. */
export function clientOf({ identity, replicas }: Reached, name: string): StateClient {
  const client = new StateClient({ identity: { ...identity, incarnation: name } });
  client.setReplicas(replicas);
  return client;
}

/** What is asked of a node that has nothing of the instance. */
export const notReached = () => new DvsError("UNAVAILABLE", "This node has no replica of the instance.");
