/** How a replica is, for people and for the simulator: nothing is decided by it. */
import type { DiskId, Durability } from "./configuration.ts";
import type { ReplicaMachine } from "./replica-machine.ts";
import type { Role } from "./sink.ts";

export interface PeerStatus {
  disk: DiskId;
  inSync: boolean;
  /** Of the log: acknowledged as written, and as durable. */
  written: number;
  durable: number;
  /** Records that it has not acknowledged. */
  lag: number;
  /** Since its last acknowledged beacon; null: none yet. */
  silentMs: number | null;
  /** Why it is being removed; empty: it is not. */
  leaving: string;
}

export interface ReplicaStatus {
  role: Role;
  serving: boolean;
  amnesiac: boolean;
  /** What was committed here gives way to the primary's, as somebody has accepted its loss: any snapshot of it is taken. */
  diverged: boolean;
  epoch: number;
  version: number;
  primary: DiskId | null;
  inSync: readonly DiskId[];
  lastIndex: number;
  durableIndex: number;
  commitIndex: number;
  appliedIndex: number;
  /** In force. */
  durability: Durability;
  /** As the primary. */
  peers: PeerStatus[];
  /** In plain words, what it waits for; empty when all is well. */
  problems: string[];
}

export function statusOf(machine: ReplicaMachine): ReplicaStatus {
  const { configurations, log, applying, replication, policy } = machine;
  const durability = machine.isPrimary && replication.isFsync ? "fsync" : policy.durability;
  return {
    role: machine.role,
    serving: machine.isServing,
    amnesiac: configurations.isAmnesiac,
    diverged: machine.following.isDiverged,
    epoch: configurations.epoch,
    version: configurations.version,
    primary: configurations.primary?.disk ?? null,
    inSync: configurations.inSync,
    lastIndex: log.lastIndex,
    durableIndex: log.durable,
    commitIndex: applying.commitIndex,
    appliedIndex: applying.appliedIndex,
    durability,
    peers: peersOf(machine),
    problems: problemsOf(machine),
  };
}

function peersOf({ replication, inSync, log, nowMs }: ReplicaMachine): PeerStatus[] {
  return [...replication.peers.values()].map(({ disk, written, durable, acknowledgedMs }) => ({
    disk,
    inSync: inSync.isMember(disk),
    written,
    durable,
    lag: log.lastIndex - written,
    silentMs: acknowledgedMs === -Infinity ? null : nowMs - acknowledgedMs,
    leaving: inSync.leaving.get(disk) ?? "",
  }));
}

function problemsOf(machine: ReplicaMachine): string[] {
  const { configurations, inSync, policy, promises, nowMs, timings, standing, isFull } = machine;
  const problems: string[] = [];
  const name = (disk: DiskId) => disk.slice(0, 8);
  if (configurations.problem) problems.push(configurations.problem);
  if (!configurations.known) problems.push("no coordinator has told it yet which replicas are in sync");
  if (machine.isPrimary && machine.replication.isStuck)
    problems.push("its disk takes nothing: it leaves its place to another replica");
  const damaged = machine.repair.damage.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  if (damaged > 0)
    problems.push(`its disk has damaged ${damaged} records of the log: they are fetched from the others`);
  if (isFull) problems.push("the disk is full: writes are refused until there is room on it");
  const members = configurations.inSync;
  if (members.length > 0 && members.length < Math.min(policy.minInSync, policy.replicas)) {
    problems.push(
      `${members.length} of ${policy.minInSync} replicas are in sync: writes are refused until one is back`,
    );
  }
  for (const [disk, why] of inSync.leaving) {
    problems.push(
      `replica ${name(disk)} is being removed (${why}): waiting for a coordinator to write that down`,
    );
  }
  const waitsFor = standing.waitsFor();
  const isMember = configurations.inSync.includes(machine.self.disk);
  if (configurations.isDamaged && isMember && !machine.isPrimary) {
    const others =
      waitsFor.length > 0
        ? `it waits for ${waitsFor.map(name).join(", ")}`
        : "no other in sync has them, but a replica that is not may";
    problems.push(
      `its disk has damaged records that were acknowledged: ${others}; "dvs instance recover --accept-loss" goes on with what one of them has`,
    );
  } else if (waitsFor.length > 0) {
    problems.push(
      `it has lost records in a power cut, and waits for ${waitsFor.map(name).join(", ")}; "dvs instance recover --accept-loss" goes on without`,
    );
  } else if (machine.role === "backup" && nowMs >= promises.quietSinceMs + 2 * timings.promiseMs) {
    problems.push("the primary is silent, and no coordinator answers: reads and writes wait");
  }
  return problems;
}
