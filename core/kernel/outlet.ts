/**
 * What this kernel has under way to one endpoint of another kernel, and the credit for it: at most windowMessages and
 * windowBytes that the destination's process has not taken. What goes beyond waits here, in order, so that a slow
 * receiver delays nobody else and the memory that it costs its kernel is bounded.
 *
 *     unresolved ─▶ resolving ─▶ open ─▶ settling (it has moved) ─▶ open
 *
 * While it settles, nothing is sent: first it must be known which messages the process took where it was. See
 * settling.ts.
 */
import { windowBytes, windowMessages } from "../limits.ts";
import { type Call, states } from "./call.ts";
import { CallQueue } from "./call-queue.ts";
import type { Endpoint } from "./endpoint.ts";
import type { KernelId } from "./view.ts";

export class Outlet {
  readonly endpoint: Endpoint;
  /** Where its messages go. While it settles: where they went. */
  kernel: KernelId;
  /** Number of the move that brought the endpoint there. */
  g: number;
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
  /** Source → how often it has notified, and the other kernel has not been told. */
  readonly notifications = new Map<Endpoint, number>();
  /** While it settles: where the endpoint is now. */
  target: { kernel: KernelId; g: number } | null = null;
  /** Number of the audit that it waits for; 0: it waits for the marker's answer. */
  audit = 0;
  /** The calls that the audit asks about. */
  audited: Call[] = [];

  constructor(endpoint: Endpoint, kernel: KernelId, g: number) {
    this.endpoint = endpoint;
    this.kernel = kernel;
    this.g = g;
  }

  /** Takes over a call that is under way already. */
  adopt(call: Call): void {
    if (call.state === states.open) this.open.push(call);
    else {
      this.sent.push(call);
      this.sentBytes += call.bytes;
    }
  }

  hasRoom(call: Call): boolean {
    if (this.sent.length === 0) return true;
    return this.sent.length < windowMessages && this.sentBytes + call.bytes <= windowBytes;
  }

  get isIdle(): boolean {
    return (
      this.queue.length + this.sent.length + this.open.length + this.asks.length === 0 &&
      this.notifications.size === 0 &&
      this.phase !== "settling"
    );
  }
}
