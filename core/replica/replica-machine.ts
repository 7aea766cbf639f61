/**
 * One replica of an instance's OS state: primary-backup replication of a log as in PacificA (MSR-TR-2008-25), with
 * reads at every replica as in CRAQ. Events in, effects out through its sink; each method is one step, synchronous and
 * hence atomic. Pure machine: the simulator runs dozens of them.
 *
 *     nobody ─ configuration read ─▶ learner ─ taken in ─▶ backup ─ elected ─▶ promoting ─ epoch committed ─▶ primary
 *        ▲                              ▲                     │                     │                            │
 *        └─ newer epoch read            └─── removed ◀────────┴─────────────────────┴────────────────────────────┘
 *
 *   configuration-machine   what it goes by, what it asks the store for, what is fsynced before (rules 1, 3)
 *   role-, reporting-       what it is by that, how far it is
 *   promises-, leases-      the two promises, as a backup and as the primary (rule 2)
 *   standing-machine        becoming primary (rules 2, 4)          in-sync-machine      who is in sync (rule 1)
 *   replication-machine     the log, as the primary (rules 1, 3)   following-machine    the log, as another
 *   repair-machine          what the own disk has damaged
 *   applying-, sessions-, levels-machine   the state machine (rule 6)
 *   writes-, reads-machine  clients (rules 5, 6)
 *
 * Each event is told the time first, since what a replica may do is looked at anew in each step: a host process that
 * was stopped must not act on what it believed before. All times are one monotonic clock of this host that goes on
 * while it sleeps, in milliseconds. `tick` is to be called every few milliseconds, `flush` at the end of each turn of
 * the event loop in which `wantFlush` was called.
 */
import { ApplyingMachine } from "./applying-machine.ts";
import { ConfigurationMachine } from "./configuration-machine.ts";
import type { DiskId, ExitCertificate, Holder, ReplicaPolicy, Versioned } from "./configuration.ts";
import { crc32, type Crc32 } from "./crc32.ts";
import type { Position } from "./epoch-table.ts";
import { FollowingMachine } from "./following-machine.ts";
import { InSyncMachine } from "./in-sync-machine.ts";
import { LeasesMachine } from "./leases-machine.ts";
import { LevelsMachine } from "./levels-machine.ts";
import { messageNames, type ModuleLevels, type ReplicaMessage } from "./messages.ts";
import { handlers } from "./handlers.ts";
import { PromisesMachine } from "./promises-machine.ts";
import { ReadsMachine } from "./reads-machine.ts";
import { checkOperation, decodeRecords, type LogRecord, recordKinds } from "./record.ts";
import { type IndexRange, RepairMachine } from "./repair-machine.ts";
import { type RecoveredLog, ReplicaLog } from "./replica-log.ts";
import type { Replica } from "./replica.ts";
import { ReplicationMachine } from "./replication-machine.ts";
import { ReportingMachine } from "./reporting-machine.ts";
import { RoleMachine } from "./role-machine.ts";
import { SessionsMachine } from "./sessions-machine.ts";
import type { AppliedState, ReplicaMeta, ReplicaSink, Role } from "./sink.ts";
import { StandingMachine } from "./standing-machine.ts";
import { type ReplicaStatus, statusOf } from "./status.ts";
import { defaultTimings, type ReplicaTimings } from "./timings.ts";
import { WritesMachine } from "./writes-machine.ts";

export interface ReplicaOptions {
  self: Holder;
  policy: ReplicaPolicy;
  sink: ReplicaSink;
  nowMs: number;
  timings?: ReplicaTimings;
  /** Highest level of each module that this version of dvs can apply. */
  levels: ModuleLevels;
  /** What the disk had. `amnesiac`: it ran in `replicated` mode, and its machine lost power since. */
  log: RecoveredLog;
  meta: ReplicaMeta;
  state: AppliedState;
  /** The runtime's, where there is one; the machine's own takes its place. */
  crc32?: Crc32;
}

/** Of a disk on which there is nothing yet. */
export const emptyMeta: ReplicaMeta = {
  ...{ epochSeen: 0, generationSeen: 0, mode: "fsync", amnesiac: false, damaged: false },
};

export interface ClientWrite {
  /** Answered once, with it. */
  ticket: number;
  /** Up to clientBytesMax printable ASCII characters; empty: nobody repeats it. */
  client: string;
  /** From 1; the same number is the same operation. */
  sequence: number;
  /** The client has the results of all below. 1 to `sequence`. */
  ackedBelow: number;
  module: string;
  operation: Uint8Array;
}

export class ReplicaMachine implements Replica {
  readonly self: Holder;
  readonly sink: ReplicaSink;
  readonly timings: ReplicaTimings;
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
  readonly startedMs: number;

  #policy: ReplicaPolicy;
  #wanted: readonly (DiskId | null)[] = [];
  #nowMs: number;
  #lapsedMs: number;
  #isFull = false;
  #isRetiring = false;
  #flushWanted = false;

  constructor(options: ReplicaOptions) {
    this.self = options.self;
    this.sink = options.sink;
    this.timings = options.timings ?? defaultTimings;
    this.crc32 = options.crc32 ?? crc32;
    this.#policy = options.policy;
    this.#nowMs = options.nowMs;
    this.#lapsedMs = options.nowMs - 1;
    this.startedMs = options.nowMs;
    this.log = new ReplicaLog(options.sink, options.log);
    this.configurations = new ConfigurationMachine(this, options.meta, (before) =>
      this.roles.adopted(before),
    );
    this.roles = new RoleMachine(this);
    this.reporting = new ReportingMachine(this);
    this.promises = new PromisesMachine(this);
    this.leases = new LeasesMachine(this);
    this.replication = new ReplicationMachine(this);
    this.following = new FollowingMachine(this);
    this.standing = new StandingMachine(this);
    this.inSync = new InSyncMachine(this);
    this.sessions = new SessionsMachine(this, options.state.sessions);
    this.levels = new LevelsMachine(this, options.levels, options.state.levels);
    this.applying = new ApplyingMachine(this, options.state);
    this.repair = new RepairMachine(this);
    this.writes = new WritesMachine(this);
    this.reads = new ReadsMachine(this);
    this.reads.untrusted();
  }

  get policy(): ReplicaPolicy {
    return this.#policy;
  }
  get wanted(): readonly (DiskId | null)[] {
    return this.#wanted;
  }
  get nowMs(): number {
    return this.#nowMs;
  }
  get lapsedMs(): number {
    return this.#lapsedMs;
  }
  get isFull(): boolean {
    return this.#isFull;
  }
  get isRetiring(): boolean {
    return this.#isRetiring;
  }
  get role(): Role {
    return this.roles.role;
  }
  get isPrimary(): boolean {
    return this.roles.isPrimary;
  }
  get isEstablished(): boolean {
    return this.roles.isEstablished;
  }
  /**
   * Where no primary serves, or answers, another replica may reach one; but one that has just changed is waited for. Who
   * has heard of none for so long keeps nobody who comes now.
   */
  isLate(sinceMs: number): boolean {
    const { nowMs, startedMs, roles, leases, promises } = this;
    const { waitMs, elsewhereMs, retryMs } = this.timings;
    const changedMs = Math.max(roles.primaryMs, leases.aliveUntilMs);
    const heardMs = Math.max(startedMs, changedMs, promises.beaconMs);
    const untilMs = Math.max(sinceMs, changedMs) + elsewhereMs;
    const aloneMs = Math.max(sinceMs + retryMs, heardMs + elsewhereMs);
    return nowMs >= Math.min(sinceMs + waitMs, untilMs, aloneMs);
  }
  /** Whether a read that comes now, with the time of the last event, would be answered here without asking anybody. */
  get isServing(): boolean {
    return this.isEstablished ? this.leases.isAlive : this.role === "backup" && this.promises.hasReadLease;
  }
  get status(): ReplicaStatus {
    return statusOf(this);
  }

  /** Asks for the configuration. Once, before anything else. */
  start(nowMs: number): void {
    this.#enter(nowMs);
    this.applying.checkLevels();
    this.#saveMode();
    if (this.configurations.meta.amnesiac) this.configurations.saveMeta({ amnesiac: true });
    this.sink.askConfiguration();
  }

  tick(nowMs: number): void {
    this.#enter(nowMs);
    this.promises.tick();
    this.configurations.tick();
    this.standing.tick();
    if (this.isPrimary) {
      this.leases.tick();
      this.replication.tick();
      this.inSync.review();
      this.levels.review();
    } else this.reporting.tick();
    this.repair.tick();
    this.applying.tick();
    this.writes.tick();
    this.reads.tick();
    this.#saveMode();
    this.review();
  }

  /** Sends and answers what this turn has brought. */
  flush(nowMs: number): void {
    this.#enter(nowMs);
    this.#flushWanted = false;
    this.applying.pump();
    this.replication.flush();
    this.following.flush();
    this.writes.flush();
    this.reads.flush();
  }

  // What the coordinator says

  configurationRead(nowMs: number, versioned: Versioned): void {
    this.#enter(nowMs);
    this.configurations.read(versioned);
    this.inSync.review();
  }

  /** `done`: this change was carried out; `refused`: by this request it was not; `unknown`: it may be, even later. */
  changed(nowMs: number, changeId: string, outcome: "done" | "refused" | "unknown"): void {
    this.#enter(nowMs);
    this.configurations.changed(changeId, outcome);
    this.inSync.review();
  }

  /** Disks that are to be replicas, in the coordinator's order; null: not yet registered. */
  replicasWanted(nowMs: number, disks: readonly (DiskId | null)[]): void {
    this.#enter(nowMs);
    this.#wanted = disks;
    this.replication.forgetUnwanted();
    this.standing.tick();
    this.inSync.review();
  }

  policyChanged(nowMs: number, policy: ReplicaPolicy): void {
    this.#enter(nowMs);
    this.#policy = policy;
    this.#saveMode();
    if (this.isPrimary && this.replication.isFsync) this.sink.wantDurable();
    this.replication.maybeCommit();
  }

  exitCertified(nowMs: number, certificate: ExitCertificate): void {
    this.#enter(nowMs);
    this.promises.certify(certificate);
    this.leases.certify(certificate);
    this.inSync.certify(certificate);
    this.standing.tick();
    this.review();
  }

  // What the disk says

  /** Log records up to `index` survive the death of this host process. */
  written(nowMs: number, index: number): void {
    this.#enter(nowMs);
    this.log.setWritten(index);
    this.replication.maybeCommit();
    // Applies what was committed already, acknowledges the rest.
    this.wantFlush();
  }

  /** … and a power cut. */
  durable(nowMs: number, index: number): void {
    this.#enter(nowMs);
    this.log.setDurable(index);
    this.replication.maybeCommit();
    this.inSync.review();
    this.wantFlush();
  }

  metaSaved(nowMs: number, ticket: number): void {
    this.#enter(nowMs);
    this.configurations.metaSaved(ticket);
    this.wantFlush();
  }

  /** These records of the log are damaged on the disk, and no others are; none: all are good. */
  damaged(nowMs: number, ranges: readonly IndexRange[]): void {
    this.#enter(nowMs);
    this.repair.damaged(ranges);
  }

  /** Records that the sink was asked to fetch for `reader`; none: they are not in the log any more, or are damaged. */
  fetched(nowMs: number, reader: string, bytes: Uint8Array): void {
    this.#enter(nowMs);
    if (this.repair.isLoan(reader)) return this.repair.fetched(reader, bytes);
    const records = this.#readable(bytes);
    if (reader === this.self.disk) return this.applying.fetched(records);
    const peer = this.replication.peer(reader);
    if (peer) this.replication.fetched(peer, records);
  }

  /** Writes are refused until it is no longer so; what was appended is still tried. */
  diskFull(nowMs: number, isFull: boolean): void {
    this.#enter(nowMs);
    this.#isFull = isFull;
  }

  /**
   * Whether all that this replica has may give way to a snapshot of that one, which ends with this record: the primary's,
   * and only while this one is no member in sync, of which acknowledged records may be. An older one only where records
   * were given up by a person (`dvs instance recover`): then what this replica has applied is no longer the truth.
   */
  mayTake(from: DiskId, snapshot: Position): boolean {
    const { configurations, following, applying, role } = this;
    const learns = role === "learner" || role === "nobody";
    const isOutside =
      configurations.primary?.disk === from && !configurations.inSync.includes(this.self.disk);
    const isNews = snapshot.index > applying.appliedIndex;
    return learns && isOutside && (isNews || following.isDiverged || following.isContradictedBy(snapshot));
  }

  /** A snapshot with all records up to `index` has been fsynced. */
  snapshotTaken(nowMs: number, index: number): void {
    this.#enter(nowMs);
    // What is applied was committed, so every member has it.
    this.log.discardTo(Math.min(index, this.applying.appliedIndex, this.log.durable));
  }

  /** A learner has been given a snapshot, in place of all that it had. Fsynced. */
  snapshotInstalled(nowMs: number, epoch: number, state: AppliedState): void {
    this.#enter(nowMs);
    this.log.reset({ epoch, index: state.index });
    this.sessions.restore(state.sessions);
    this.levels.restore(state.levels);
    this.applying.restore(state);
    this.reads.truncated(state.index);
    this.following.restart();
    const { primary } = this.configurations;
    if (primary && !this.isPrimary) this.reporting.report(primary.disk);
  }

  /** The host has sent a snapshot, or could not. */
  snapshotSent(nowMs: number, disk: DiskId): void {
    this.#enter(nowMs);
    this.replication.snapshotSent(disk);
  }

  // Links

  /** A message of another replica, its fields checked by their kinds. */
  receive(nowMs: number, from: DiskId, message: ReplicaMessage): void {
    this.#enter(nowMs);
    const name = messageNames.get(message[0]);
    if (name)
      (handlers[name] as (replica: ReplicaMachine, from: DiskId, m: ReplicaMessage) => void)(
        this,
        from,
        message,
      );
    this.review();
  }

  /** A new link; what was sent over the old one may be lost. A hint: without it the same happens later. */
  linkUp(nowMs: number, disk: DiskId): void {
    this.#enter(nowMs);
    this.reporting.linkUp(disk);
  }

  // Clients

  /** Throws INVALID or TOO_LARGE for what no record can carry. */
  write(nowMs: number, write: ClientWrite): void {
    this.#enter(nowMs);
    checkOperation(write);
    this.writes.write({ ...write, kind: recordKinds.operation });
  }

  /** A client is gone for good: its results are forgotten. */
  removeClient(nowMs: number, ticket: number, client: string): void {
    this.#enter(nowMs);
    this.writes.write({
      ticket,
      client,
      sequence: 0,
      ackedBelow: 0,
      kind: recordKinds.clientRemoved,
      module: "",
      operation: new Uint8Array(0),
    });
  }

  /** Answered when all that was acknowledged before, by whomever, is on the disks of all replicas in sync. */
  sync(nowMs: number, ticket: number): void {
    this.#enter(nowMs);
    const nothing = new Uint8Array(0);
    const empty = { client: "", sequence: 0, ackedBelow: 0, module: "", operation: nothing };
    this.writes.write({ ticket, kind: recordKinds.sync, ...empty });
  }

  /** The host process is about to end: clients are sent elsewhere. What is under way goes on; see `isIdle`. */
  retire(nowMs: number): void {
    this.#enter(nowMs);
    this.#isRetiring = true;
  }

  /** Nobody waits for an answer of this replica. */
  get isIdle(): boolean {
    return this.writes.waiting === 0 && this.reads.waiting === 0;
  }

  /** `buckets` of all that it reads (`ReplicaSink.touched`); null: of anything. */
  read(nowMs: number, ticket: number, buckets: readonly number[] | null): void {
    this.#enter(nowMs);
    this.reads.read(ticket, buckets);
  }

  // For the parts

  wantFlush(): void {
    if (this.#flushWanted) return;
    this.#flushWanted = true;
    this.sink.wantFlush();
  }

  review(): void {
    this.roles.review();
  }

  /** One look at the clock in each step. */
  #enter(nowMs: number): void {
    const gapMs = nowMs - this.#nowMs;
    if (gapMs <= 0) return;
    this.#nowMs = nowMs;
    if (gapMs <= this.timings.aliveMs / 2) return;
    this.#lapsedMs = nowMs;
    this.promises.lapse();
    this.leases.lapse();
  }

  /** `replicated` has to be on the disk before anything is acknowledged by it, and until all of that is durable. */
  #saveMode(): void {
    const { configurations, log } = this;
    const { durability } = this.#policy;
    if (durability === "replicated" || log.durable === log.lastIndex)
      configurations.saveMeta({ mode: durability });
  }

  /** Of the own disk: what is damaged there is as if it was not there, until the log has repaired it. */
  #readable(bytes: Uint8Array): LogRecord[] {
    try {
      return decodeRecords(bytes, this.crc32);
    } catch {
      return [];
    }
  }
}
