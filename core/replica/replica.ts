/**
 * One replica, as its parts see one another: each part is a file that carries some of the rules of DESIGN.md
 * section 5, and machine and parts together are ReplicaMachine (replica-machine.ts).
 */
import type { ApplyingMachine } from "./applying-machine.ts";
import type { ConfigurationMachine } from "./configuration-machine.ts";
import type { DiskId, Holder, ReplicaPolicy } from "./configuration.ts";
import type { Crc32 } from "./crc32.ts";
import type { FollowingMachine } from "./following-machine.ts";
import type { InSyncMachine } from "./in-sync-machine.ts";
import type { LeasesMachine } from "./leases-machine.ts";
import type { LevelsMachine } from "./levels-machine.ts";
import type { PromisesMachine } from "./promises-machine.ts";
import type { ReadsMachine } from "./reads-machine.ts";
import type { RepairMachine } from "./repair-machine.ts";
import type { ReplicaLog } from "./replica-log.ts";
import type { ReplicationMachine } from "./replication-machine.ts";
import type { ReportingMachine } from "./reporting-machine.ts";
import type { RoleMachine } from "./role-machine.ts";
import type { SessionsMachine } from "./sessions-machine.ts";
import type { ReplicaSink, Role } from "./sink.ts";
import type { StandingMachine } from "./standing-machine.ts";
import type { ReplicaTimings } from "./timings.ts";
import type { WritesMachine } from "./writes-machine.ts";

export interface Replica {
  readonly self: Holder;
  readonly sink: ReplicaSink;
  readonly timings: ReplicaTimings;
  /** Of records. */
  readonly crc32: Crc32;
  readonly log: ReplicaLog;
  readonly configurations: ConfigurationMachine;
  readonly roles: RoleMachine;
  readonly reporting: ReportingMachine;
  readonly promises: PromisesMachine;
  readonly leases: LeasesMachine;
  readonly replication: ReplicationMachine;
  readonly following: FollowingMachine;
  readonly standing: StandingMachine;
  readonly inSync: InSyncMachine;
  readonly applying: ApplyingMachine;
  readonly sessions: SessionsMachine;
  readonly writes: WritesMachine;
  readonly reads: ReadsMachine;
  readonly levels: LevelsMachine;
  readonly repair: RepairMachine;

  readonly policy: ReplicaPolicy;
  /** Of replicas that the coordinator wants, in its order; null where none has registered yet. */
  readonly wanted: readonly (DiskId | null)[];
  /** This host's clock in this step. */
  readonly nowMs: number;
  /** Clocks from before this time prove nothing: nobody had looked for too long (rule 8). */
  readonly lapsedMs: number;
  readonly startedMs: number;
  /** The disk takes nothing more at the moment. */
  readonly isFull: boolean;
  /** Clients are to ask elsewhere. */
  readonly isRetiring: boolean;
  readonly role: Role;

  /** Primary of the configuration that it goes by, serving or not. */
  readonly isPrimary: boolean;
  /** Primary, promoted, and its promises are over; whether it may answer reads is for `leases.isAlive`. */
  readonly isEstablished: boolean;
  /** Whether a read or a write that came then has waited here for long enough. Who came later has not waited longer. */
  isLate(sinceMs: number): boolean;
  /** There is something that goes out at the end of the turn. */
  wantFlush(): void;
  /** What this replica is may have changed. */
  review(): void;
}
