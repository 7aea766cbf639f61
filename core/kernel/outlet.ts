/**
 * What this kernel has under way to one endpoint of another kernel, and the credit for it: at most windowMessages and
 * windowBytes that the destination's process has not taken. What goes beyond waits here, in order, so that a slow
 * receiver delays nobody else and the memory that it costs its kernel is bounded.
 *
 *     unresolved ─▶ resolving ─▶ open ─▶ settling (the destination, or a caller, moves) ─▶ open
 *
 * While it settles, nothing is sent: first it must be known which messages the process took where it was. See
 * settling.ts. An endpoint that has come to this kernel itself keeps its outlet until nothing is left in it.
 */
import { windowBytes, windowMessages } from "../limits.ts";
import { type Call, states } from "./call.ts";
import { CallQueue } from "./call-queue.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Notice } from "./notices.ts";
import type { KernelId } from "./view.ts";

/** Where an endpoint is, and by which record. */
export interface Stay {
  kernel: KernelId;
  since: number;
}

export class Outlet {
  readonly endpoint: Endpoint;
  /** Where its messages go. While it settles: where they went. */
  kernel: KernelId;
  /** Index of the record that brought the endpoint there. */
  since: number;
  phase: "unresolved" | "resolving" | "open" | "settling" = "unresolved";
  /** Group of the endpoint, once resolved: it never changes. */
  group = -1;
  /** Calls that wait here. */
  readonly queue = new CallQueue();
  /** Messages that the process has not taken, as far as is known. */
  readonly sent = new CallQueue();
  sentBytes = 0;
  /** Requests that it has taken. */
  readonly open = new CallQueue();
  /** Calls that the other kernel itself answers: watch, info, copies. They may be asked again. */
  readonly asks = new CallQueue();
  /** By source: how often it has notified, and the other kernel has not said that it knows. */
  readonly notices = new Map<Endpoint, Notice>();
  /** While it settles: where the endpoint is now; kernel 0: nowhere. */
  target: Stay | null = null;
  /** Number of the marker that it waits for; 0: none. */
  marker = 0;
  /** Number of the audit that it waits for; 0: none. */
  audit = 0;
  /** The calls that the audit asks about. */
  audited: Call[] = [];
  /** Answers to its open requests may come by other kernels than the one that has the endpoint. */
  displaced = false;
  /** One of those has died: whether the requests are still open must be asked. */
  doubtful = false;

  constructor(endpoint: Endpoint, { kernel, since }: Stay) {
    this.endpoint = endpoint;
    this.kernel = kernel;
    this.since = since;
  }

  /** Where the endpoint is, as far as this kernel knows. */
  get stay(): Stay {
    return this.target ?? this;
  }

  hasRoom(call: Call): boolean {
    if (this.sent.length === 0) return true;
    return this.sent.length < windowMessages && this.sentBytes + call.bytes <= windowBytes;
  }

  /** Something is on its way of which it is not known whether it arrives. */
  get isUnderWay(): boolean {
    if (this.sent.length + this.open.length > 0) return true;
    for (const notice of this.notices.values()) if (notice.isSent) return true;
    return false;
  }

  get isIdle(): boolean {
    return (
      this.queue.length + this.sent.length + this.open.length + this.asks.length === 0 &&
      this.notices.size === 0 &&
      this.phase !== "settling"
    );
  }

  /** Calls that have not been taken, oldest first: before everything that waits. */
  putBack(calls: readonly Call[]): void {
    const first = this.queue.head;
    for (const call of calls) {
      call.state = states.queued;
      if (first) this.queue.insertBefore(first, call);
      else this.queue.push(call);
    }
  }
}
