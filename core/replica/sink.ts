/**
 * What a replica makes happen, and what it answers. Its host gives it a sink: in a state process that is made of the
 * log, the database, links and the agent; in the simulator of the simulator's. No method may call back into the
 * machine before it has returned, and none may throw: a disk that fails is an event, a module that fails a result.
 *
 * How the host drives the machine (replica-machine.ts): each event has the time as its first argument; `flush` after
 * each turn in which `wantFlush` was called; `tick` every few milliseconds.
 */
import type { Change, DiskId, Durability } from "./configuration.ts";
import type { ReplicaMessage } from "./messages.ts";
import type { LogRecord } from "./record.ts";

/** Why something was not carried out: it was not, and will not be, so that it may be asked again. */
export type RefusalReason =
  /** No primary serves. */
  | "no-primary"
  /** Fewer in-sync members than the policy demands: no writes. */
  | "below-min-in-sync"
  | "disk-full"
  /** Too much waits. */
  | "busy"
  /** This replica is to be stopped, or cannot go on. */
  | "stopping";

/** Refusals that its caller is to know at once; with the others it asks elsewhere. */
export const lastingRefusals: ReadonlySet<RefusalReason> = new Set(["below-min-in-sync", "disk-full"]);

export type WriteOutcome =
  | { type: "ok"; result: Uint8Array; index: number }
  | { type: "refused"; reason: RefusalReason; text: string }
  /** It may have been carried out, or be carried out yet: the same request may be made again, here or elsewhere. */
  | { type: "uncertain" }
  /** Whether it was carried out nobody knows any more; it will not be by this request. */
  | { type: "unknown" };

/** `ok`: evaluate it now, in this very step: the state is that of `index`. */
export type ReadOutcome =
  { type: "ok"; index: number } | { type: "refused"; reason: RefusalReason; text: string };

export type Role = "nobody" | "learner" | "backup" | "promoting" | "primary";

/** Fsynced beside the log before the replica acts by what it says. */
export interface ReplicaMeta {
  /** Highest of all configurations seen. */
  epochSeen: number;
  generationSeen: number;
  /** `replicated`: it may have acknowledged what a power cut of this machine takes away. */
  mode: Durability;
  /** It has lost such records, and learns anew until it has read that it is out of the in-sync set. */
  amnesiac: boolean;
  /**
   * What it has lost is not the last of a power cut: its disk has damaged it. It goes on from what is left only where a
   * person has said so.
   */
  damaged: boolean;
  /**
   * Version of a configuration in which it is in sync; nothing or 0: of none. What it has only written counts as
   * acknowledged where this is on the disk, and only a configuration above tells an amnesiac that it is out: an older
   * one may have been read from somebody who does not know yet that it was taken in.
   */
  memberVersion?: number;
}

/** What a client has had, as the state machine keeps it: part of each snapshot. */
export interface SessionRow {
  client: string;
  ackedBelow: number;
  /** Of sequences from ackedBelow on. */
  results: readonly (readonly [sequence: number, result: Uint8Array, index: number])[];
}
export interface SessionsState {
  sessions: readonly SessionRow[];
  /** Oldest first. */
  removed: readonly string[];
}
export type SessionChange =
  /** The result of this operation is kept. */
  | { type: "result"; client: string; sequence: number; result: Uint8Array; index: number }
  /** All below are forgotten; also makes the session. */
  | { type: "acked"; client: string; ackedBelow: number }
  /** The client is gone; `forgotten` are those whose removal is forgotten by now. */
  | { type: "removed"; client: string; forgotten: readonly string[] };

/** The state that a replica begins with: after opening its disk, and after a snapshot was installed. */
export interface AppliedState {
  /** 0: nothing was applied yet. */
  index: number;
  /** Of the last record applied; 0 or nothing: there was none. */
  timeMs?: number;
  sessions: SessionsState;
  /** Levels in force, by the level records applied; absent: 0. */
  levels: ReadonlyMap<string, number>;
}

export interface ReplicaSink {
  // The log (core/log)

  /**
   * Puts records behind the last. They are told `written` (they survive the death of this host process) and `durable`
   * (a power cut) later, in their order. For reads beside this process: what they touch is marked as prepared before
   * this returns.
   */
  append(records: readonly LogRecord[]): void;
  /** Cuts off all records above. `written` and `durable` then speak of newer records only. */
  truncateAfter(index: number): void;
  /** `durable` is wanted soon, not lazily: somebody waits. Called at most once a flush. */
  wantDurable(): void;
  /** A fsynced snapshot has all up to here, and no member lacks any of it: the log may be cut off below. */
  discardTo(index: number): void;
  /** Answered by `fetched(reader, …)`: records from there on, at least one, up to `bytesMax` in all. `reader` is any name. */
  fetch(reader: string, fromIndex: number, bytesMax: number): void;
  /**
   * Puts these in the place of the damaged records. None: nobody has them, so that a snapshot of what is applied is to
   * take their place, once it has them; and where it never will, this replica is to start and learn anew. Answered by `damaged` with what is left, whatever became of it.
   */
  repair(records: readonly LogRecord[]): void;
  /** Answered by `metaSaved(ticket)` once fsynced. */
  saveMeta(meta: ReplicaMeta, ticket: number): void;

  // The state machine (modules on the database)

  /** False: what was applied has to get to the disk before more is; the host flushes the machine when it has. */
  mayApply?(): boolean;
  /** Executes an operation; called for committed records only, in their order. The result: at most resultBytesMax. */
  execute(record: LogRecord): Uint8Array;
  /** A session has changed by the record that is being applied. */
  sessionChanged(change: SessionChange): void;
  /** A module has a new level from the next record on. */
  levelRaised(module: string, level: number): void;
  /** All of this record is done. Called for each one, also those that execute nothing; one transaction with all above. */
  applied(record: LogRecord): void;
  /** Buckets (0 to keyBuckets − 1) of all keys that the operation may change; null: any. */
  touched(record: LogRecord): readonly number[] | null;

  // Links

  /** To the replica's link; dropped where there is none. */
  send(disk: DiskId, message: ReplicaMessage): void;
  /** Streams a snapshot of at least this index to a learner. Answered by `snapshotSent(disk)`, whatever became of it. */
  sendSnapshot(disk: DiskId, fromIndex: number): void;

  // The coordinator

  /** Answered by `changed`; version is raised by one where it is done. */
  propose(change: Change): void;
  /** Answered by `configurationRead`, or not at all. */
  askConfiguration(): void;

  // Clients

  answer(ticket: number, outcome: WriteOutcome): void;
  answerRead(ticket: number, outcome: ReadOutcome): void;

  // The host

  /** Reads beside this process may be answered by this host's clock until then; −Infinity: not at all. */
  readLease(deadlineMs: number): void;
  roleChanged(role: Role): void;
  wantFlush(): void;
  /** This replica can never go on: its log contradicts the primary's, or it is too old. Its host process is to end. */
  failed(reason: string): void;

  // Chance and the time of day, for records
  wallMs(): number;
  /** 16 random bytes, which the caller may keep. */
  random(): Uint8Array;
}
