/** What the control plane's machine is told, and what it answers. Pure machine: types only. */
import type { Desired, Report } from "../agent-protocol.ts";
import type { InstanceWatchEvent } from "../api/views.ts";
import type { ReplicaSet } from "../state/replica-set.ts";
import type { KeyValue, Txn, WatchEvent } from "../store/store.ts";

export interface ControllerLimits {
  /** A node without heartbeats for this long is down. */
  nodeDownMs: number;
  /** A container on a node that is down for this long gets a place on another node. */
  replaceAfterMs: number;
  /** A node that cannot open a port for this long fails the creation of the instance. */
  portFailedMs: number;
  /** Pause before a transaction with a lost or refused answer is decided anew. */
  txnRetryMs: number;
}

export interface ControllerOptions {
  clusterId: string;
  /** Id of this coordinator, for events. */
  holder: string;
  /** A new random id at each call: letters, digits and hyphens. */
  random(): string;
  limits?: Partial<ControllerLimits>;
}

/** `nowMs` is a monotonic clock; `wallMs` is written into records and decides nothing. */
export type ControlEvent =
  /** This coordinator became the leader: forget everything; every known node counts as alive from now. */
  | { type: "start"; nowMs: number; wallMs: number; storeGeneration: number }
  /** All keys under `/n/`, `/t/` and `/p/` (others are ignored), as of one revision. */
  | { type: "snapshot"; revision: number; kvs: KeyValue[] }
  /** Changes since, each key's in order; the prefixes may come from separate watches. */
  | { type: "changes"; revision: number; events: WatchEvent[] }
  | {
      type: "heartbeat";
      nowMs: number;
      node: string;
      incarnation: string;
      sequence: number;
      report?: Report | undefined;
    }
  /** `lagMs`: how late this tick is. Others are not blamed for time in which this process did not run. */
  | { type: "tick"; nowMs: number; wallMs: number; lagMs: number }
  /** Exactly one for each `txn` effect, also when the answer is `unknown`. */
  | { type: "txnDone"; id: string; nowMs: number; outcome: TxnOutcome };

export type TxnOutcome =
  | "applied"
  /** A compare did not hold. */
  | "conflict"
  /** The answer was lost. */
  | "unknown"
  /** Not carried out. */
  | "failed";

/** What a transaction is for; shown in logs, counted by the simulator. */
export type TxnKind =
  | "place"
  | "prune"
  | "replicas"
  | "unregister"
  | "establish"
  | "rollback"
  | "delete"
  | "node-remove"
  | "event";

export type ControlEffect =
  /** The driver adds the compare on the create revision of the leader's key, so that a deposed leader changes nothing. */
  | { type: "txn"; id: string; kind: TxnKind; txn: Txn }
  /** Only when it changed for that node. */
  | { type: "desired"; node: string; desired: Desired }
  /** Who keeps an instance's OS state: for each node that has a part in it, whenever it changed. */
  | { type: "replicas"; node: string; uid: string; replicas: ReplicaSet }
  /** The record of the node is gone: its agent is to end. */
  | { type: "removed"; node: string }
  /** The view of an instance changed. */
  | { type: "instance"; event: InstanceWatchEvent }
  /** The view of a node changed. */
  | { type: "node"; id: string }
  | { type: "log"; level: "info" | "warn" | "error"; message: string };
