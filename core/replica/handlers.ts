/** What happens with each message of another replica. One handler a row of messages.ts. */
import type { DiskId } from "./configuration.ts";
import type { MessageName, ReplicaMessage } from "./messages.ts";
import type { Replica } from "./replica.ts";

export type Handler<N extends MessageName> = (
  replica: Replica,
  from: DiskId,
  message: ReplicaMessage<N>,
) => void;

export const handlers: { [N in MessageName]: Handler<N> } = {
  report: (replica, from, m) => replica.reporting.handleReport(from, m),
  configuration: (replica, from, m) => replica.configurations.handleConfiguration(from, m),
  append: (replica, from, m) => replica.following.handleAppend(from, m),
  appended: (replica, from, m) => replica.replication.handleAppended(from, m),
  mismatch: (replica, from, m) => replica.replication.handleMismatch(from, m),
  wantRecords: (replica, from, m) => replica.repair.handleWantRecords(from, m),
  givenRecords: (replica, _from, m) => replica.repair.handleGivenRecords(m),
  beacon: (replica, from, m) => replica.promises.handleBeacon(from, m),
  beaconAck: (replica, from, m) => replica.leases.handleBeaconAck(from, m),
  forward: (replica, from, m) => replica.writes.handleForward(from, m),
  forwarded: (replica, _from, m) => replica.writes.handleForwarded(m),
  readIndex: (replica, from, m) => replica.reads.handleReadIndex(from, m),
  readIndexed: (replica, from, m) => replica.reads.handleReadIndexed(from, m),
};
