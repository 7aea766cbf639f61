/** What a kernel holds of one process (MINIX `proc.h`): its endpoint, its privileges and its queues. */
import type { Call } from "./call.ts";
import { CallQueue } from "./call-queue.ts";
import { CallTable } from "./call-table.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Grant } from "./grant.ts";
import type { PrivilegeBits } from "./privileges.ts";

/** Messages and bytes since it was bound here, for getInfo. Bytes are counted where the size is known: remotely. */
export interface ProcCounters {
  sentLocal: number;
  sentRemote: number;
  receivedLocal: number;
  receivedRemote: number;
  bytesSent: number;
  bytesReceived: number;
  bytesCopied: number;
}

export class Proc {
  readonly endpoint: Endpoint;
  readonly privileges: PrivilegeBits;
  // The same as in `privileges`, where they are needed at each call.
  readonly group: number;
  readonly to: number;
  readonly from: number;
  readonly calls: number;
  /** 1: it waits for each of its calls before the next; then a circle of calls is a deadlock. */
  readonly callsMax: number;

  /** Messages that it has not taken. Bounded by callsMax of local callers and by the windows of remote kernels. */
  readonly mailbox = new CallQueue();
  /** Requests that it has taken and not replied to. Bounded by the calls of their callers. */
  readonly open = new CallQueue();
  /** Its own receives that wait. */
  readonly receivers = new CallQueue();
  /** Source → how often it has notified, in the order of the first. At most one per source. */
  readonly notifications = new Map<Endpoint, number>();
  /** Calls of its own under way. */
  underWay = 0;
  /** Its calls that have left this kernel, and those that wait to leave: by number. */
  readonly away = new CallTable();
  /** Of a process that makes one call at a time: that call. */
  blockedOn: Call | null = null;
  /** Number of its last call that was given one. */
  lastCall = 0;
  readonly grants = new Map<number, Grant>();
  lastGrant = 0;
  /** Copies under way that it makes or that go through its grants: a move waits for them. */
  copies = 0;
  name: string | null = null;
  /** Bound, and not yet unbound, here. */
  bound = true;
  /** Nothing is delivered to it and no call of it leaves: it is being moved, or is a backup. */
  held = false;
  /** Calls do not simply go ahead: it is held, or older calls to it are still on their way from where it was. */
  detour = false;
  /**
   * Messages that had arrived where it was last, in its stay since that record, and that it had not taken, by
   * callName(): their senders send them again.
   */
  untaken: ReadonlySet<string> = new Set();
  untakenSince = -1;
  /** Number of the last notification of each source on another kernel: see notices.ts. At most notifiersKept. */
  readonly notified = new Map<Endpoint, number>();
  readonly counters: ProcCounters = {
    sentLocal: 0,
    sentRemote: 0,
    receivedLocal: 0,
    receivedRemote: 0,
    bytesSent: 0,
    bytesReceived: 0,
    bytesCopied: 0,
  };
  /** The VOS's. */
  host: unknown = null;

  constructor(endpoint: Endpoint, privileges: PrivilegeBits, callsMax: number) {
    this.endpoint = endpoint;
    this.privileges = privileges;
    this.group = privileges.group;
    this.to = privileges.to;
    this.from = privileges.from;
    this.calls = privileges.calls;
    this.callsMax = callsMax;
  }
}
