/**
 * Another replica says how far it is. To the primary that is a member whose link is new, or a learner that wants to
 * become one; to the others it counts while there is no primary (standing-machine).
 */
import type { DiskId } from "./configuration.ts";
import type { ReplicaMessage } from "./messages.ts";
import type { Replica } from "./replica.ts";

export function handleReport(replica: Replica, from: DiskId, message: ReplicaMessage<"report">): void {
  const [, incarnation, generation, version, lastEpoch, lastIndex, amnesiac, , levels] = message;
  const { configurations, replication, inSync, wanted } = replica;
  if (configurations.isOlder(generation, version)) configurations.tell(from);
  else if (configurations.isNewer(generation, version)) replica.sink.askConfiguration();
  if (!replica.isPrimary) return replica.standing.handleReport(from, message);
  const isMember = configurations.required.has(from);
  if (!isMember && !wanted.includes(from)) return;
  const peer = replication.peer(from) ?? replication.addLearner(from);
  if (peer.incarnation !== incarnation) peer.restarted(incarnation);
  peer.levels = levels;
  peer.amnesiac = amnesiac === 1;
  // Until it goes by this epoch it refuses what it is sent.
  if (!configurations.isOlder(generation, version) || version > 0)
    replication.startFrom(peer, lastEpoch, lastIndex);
  inSync.review();
}
