/** How a replica is, as it is told to agents and so to people. */
import type { ReplicaHost } from "./replica-host.ts";
import type { ReplicaStatus } from "./replica-status.ts";

const problemCharsMax = 1_000;

export function statusOf({ machine }: ReplicaHost, diskBytes: number): ReplicaStatus {
  const status = machine.status;
  const { role, serving, amnesiac, epoch, lastIndex, commitIndex, appliedIndex, durability } = status;
  return {
    role: amnesiac ? "amnesiac" : role === "promoting" ? "primary" : role,
    serving,
    epoch,
    index: lastIndex,
    committed: commitIndex,
    applied: appliedIndex,
    durability,
    diskBytes,
    problem: status.problems.join("; ").slice(0, problemCharsMax),
  };
}
