/**
 * What the replicas of a simulated instance hold, and what its clients do with it. The same machines, disks, links and
 * faults carry keys and values (kv-load.ts), or files (files/files-load.ts).
 */
import type { DiskId } from "../../../core/replica/configuration.ts";
import type { LogRecord } from "../../../core/replica/record.ts";
import type { AppliedState, SessionChange } from "../../../core/replica/sink.ts";
import type { Fields } from "../../../core/state/link/frames.ts";
import type { Host } from "../harness/host.ts";
import type { AskingClient } from "./asking-client.ts";
import type { SimNode } from "./sim-node.ts";

/** The state as of a record. */
export interface Frozen {
  readonly index: number;
  readonly epoch: number;
}

/** What a client asks a replica for. */
export type Request =
  | { kind: "write"; client: string; sequence: number; ackedBelow: number; operation: Uint8Array }
  | { kind: "read"; query: unknown };

/** What a replica says of one request. */
export type Answer =
  /** `index`: of a write, where it was carried out. */
  | { outcome: "ok"; result: unknown; index: number }
  /** Not carried out, and not going to be because of this request. */
  | { outcome: "refused" }
  /** It may have been, or be yet; the same may be asked again. */
  | { outcome: "uncertain" }
  /** Nothing is known of it any more; it is not carried out again. */
  | { outcome: "unknown" };

export interface Load {
  /** Name of the module. */
  readonly module: string;
  /** How often the primary looks for what it writes by itself; Infinity: never. */
  readonly dueMs: number;
  /** Of clients, so far. */
  readonly calls: number;
  newClient(host: Host): AskingClient<object>;
  /** For an empty disk. */
  newStore(node: SimNode): StateStore;
  decodeResult(bytes: Uint8Array): unknown;
  /** Of the operation in a record, for people. */
  tell(record: LogRecord): string;
  /** A replica has carried it out. Throws where another has come to something else. */
  executed(record: LogRecord, result: Uint8Array, by: string): void;
  /** A replica has applied it, which is committed in the log that goes on. */
  applied(record: LogRecord, state: State): void;
  /** After each step of the simulation. Throws what has gone wrong where nobody could be told. */
  stepped(): void;
  /** A person has accepted that what is behind `kept` is lost. */
  lose(kept: number): void;
  /** What is still under way in these, or null. */
  unsettled(states: readonly State[]): string | null;
  /** All that clients do is done, and replicas are one: what is wrong with what they were told, or null. */
  violation(): string | null;
}

/** The state on a machine's disk: it outlives state processes, and goes with the disk. */
export interface StateStore {
  /** What the database has of the last life: it survives that, but no power cut. Null: nothing. */
  readonly stored: Frozen | null;
  /** The power has failed. */
  lost(): void;
  /** Of the database, which no process has open. */
  freeze(): Frozen;
  /** All that the snapshot names outside of itself is on the disk, or `before` had it there. */
  sync(snapshot: Frozen, before: Frozen | null, done: () => void): void;
  /** Opened by a state process; null: what there is is of no use, or it begins with nothing. */
  open(life: Life, from: "database" | Frozen | null, done: (state: State) => void): void;
  /** By a program on this machine, whatever its state process does. Null: a replica has to be asked. */
  readBeside(query: unknown): { result: unknown } | null;
  /** Nobody uses it any more. */
  close(): void;
}

/** What the state of a process asks of it. */
export interface Life {
  readonly node: SimNode;
  readonly name: string;
  /** Records of the log that survive the end of this process. */
  written(): number;
  /** All up to there is in the database. */
  committed(index: number): void;
  /** To another replica's state. */
  send(disk: DiskId, fields: Fields): void;
  linked(): readonly DiskId[];
  /** As the primary, if it still is: what belongs to nobody. */
  write(operation: Uint8Array): void;
  full(full: boolean): void;
  /** It can be applied again. */
  resumed(): void;
}

/** The state of one life of a replica. */
export interface State extends Frozen {
  /** In force, of the module. */
  readonly level: number;
  /** What is applied has to get to the disk before more is. */
  readonly isHeld: boolean;
  execute(record: LogRecord): Uint8Array;
  sessionChanged(change: SessionChange): void;
  levelRaised(module: string, level: number): void;
  /** All of this record is done. */
  applied(record: LogRecord): void;
  /** Records were applied in the step that has ended. */
  commitSoon(): void;
  appliedState(): AppliedState;
  /** Equal for equal states, however they came about. */
  digest(): string;
  /** Buckets of keys that it may change; null: any. */
  touched(record: LogRecord): readonly number[] | null;
  /** Buckets of keys that the answer depends on, as the state is now; null: any. */
  bucketsOf(query: unknown): readonly number[] | null;
  /** A promise: what is true was decided now. */
  read(query: unknown): unknown;
  /** What the primary writes by itself now. */
  due(timeMs: number): Uint8Array | null;
  /** As of the last transaction, or of now. */
  freeze(): Frozen;
  /** A snapshot of that record is on the disk. */
  kept(index: number): void;
  /** Nothing is removed that a snapshot names until the returned function is called: one is being sent. */
  hold(): () => void;
  /** Gets what a snapshot of another replica names outside of itself. False: it could not be had. */
  receive(from: DiskId, snapshot: Frozen, isDiverged: boolean, done: (isThere: boolean) => void): void;
  /** The snapshot takes the place of all that is here. */
  install(snapshot: Frozen): void;
  /** From another replica's state. */
  received(from: DiskId, fields: Fields): void;
  linkDown(disk: DiskId): void;
  /** In order, after the log. */
  close(done: () => void): void;
  /** The process has died. */
  died(): void;
}
