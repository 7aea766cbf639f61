/**
 * The members of an instance, and everything that all its kernels must see in one order: views, names, leases of
 * slots, moves. It is a state machine over records; whoever orders the records (the control store's revision now,
 * the OS-state log later) is behind the interface RecordLog. Applying is deterministic: the same records give the
 * same View on each kernel. A record that does not fit (an old `g`, a name that is taken, a kernel that is gone)
 * changes nothing, and its proposer reads that from the View.
 */
import type { Endpoint } from "./endpoint.ts";
import type { ViewSnapshot } from "./view-machine.ts";

/** Number of a kernel within its instance, from 1, never used again. */
export type KernelId = number;

export interface Member {
  kernel: KernelId;
  /** Random per host process of the container. */
  incarnation: string;
  node: string;
  /** Which virtual CPU of the node, from 0. */
  cpu: number;
  /** Where its proxies listen: for kernels of the same node, and for others. */
  unix: string;
  host: string;
  port: number;
  /** Highest version of the protocol between kernels that it speaks, and the lowest. */
  protocol: number;
  protocolMin: number;
}

/** What can be proposed. Every kind names the proposer, so that an answer that was lost can be found again. */
export type KernelRecord =
  /** A kernel enters; the record's index becomes its KernelId. Refused for an incarnation that was in before. */
  | { type: "join"; member: Omit<Member, "kernel"> }
  /** The only thing that kills its processes, fails calls to it with DIED, drops its names and slots. */
  | { type: "remove"; kernel: KernelId; reason: "left" | "exit-certificate" }
  /** By the grantor of that epoch, refused once there is another: it may have renewed the lease that has run out. */
  | { type: "remove"; kernel: KernelId; reason: "lease"; epoch: number }
  /**
   * This member grants the kernel leases from now on. `epoch` must be one more than the last; proposed by a member
   * that has acknowledged no beacon of the present grantor for longer than the promise lasts, or finds none.
   */
  | { type: "grantor"; kernel: KernelId; epoch: number }
  /** `count` more slots for the kernel. */
  | { type: "slots"; kernel: KernelId; count: number }
  /** Refused while another endpoint has the name. */
  | { type: "name"; name: string; endpoint: Endpoint; kernel: KernelId }
  | { type: "unname"; name: string; endpoint: Endpoint }
  /** Starts a move of the endpoint; `g` must be one more than the endpoint's last move. */
  | { type: "moving"; endpoint: Endpoint; g: number; from: KernelId; to: KernelId }
  /** Written by `to` when it holds the whole image. */
  | { type: "moved"; endpoint: Endpoint; g: number }
  /** Written by `from`. Whichever of moved / aborted comes first is the truth; `remove` of either side aborts, too. */
  | { type: "aborted"; endpoint: Endpoint; g: number }
  /** `kernel` takes over the endpoint, without its state, when its holder is removed or has ended it. */
  | { type: "backup"; endpoint: Endpoint; kernel: KernelId }
  /** Its holder has unbound an endpoint that has moved or has backups: forgets it, or promotes the first backup. */
  | { type: "ended"; endpoint: Endpoint; kernel: KernelId };

export interface OrderedRecord {
  /** Rises by any amount; the same on every kernel. */
  index: number;
  /** Random, drawn by the proposer: finds the own record again when the answer was lost. */
  id: string;
  record: KernelRecord;
}

/** The order of an instance's records. */
export interface RecordLog {
  /**
   * Proposes a record. Resolves with its index when it has been ordered, which says nothing of whether it fitted.
   * Rejects with UNAVAILABLE (not ordered) or OUTCOME_UNKNOWN (look for the id among the records).
   */
  propose(id: string, record: KernelRecord): Promise<number>;
  /** Every record from the first on (or a snapshot of the View, then those after it), in order, each once. */
  follow(signal: AbortSignal): AsyncIterable<OrderedRecord | { snapshot: ViewSnapshot }>;
}
