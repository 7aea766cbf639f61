/**
 * One call of a process, from its start to its one outcome. The same object is the caller's ticket, the entry in a
 * mailbox, the message that the receiver is handed, and the entry in the timer wheel: a call between two processes of
 * one kernel allocates nothing else.
 *
 *     waiting in the caller's kernel ─▶ sent ─▶ taken ─▶ done           by the caller's kernel (`state`)
 *          parked, held, queued          mailbox    open
 *
 * A message that came from another kernel is a Call, too, with `caller` null.
 */
import type { CallQueue } from "./call-queue.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Message, Received } from "./message.ts";
import type { Outcome } from "./outcome.ts";
import type { Proc } from "./proc.ts";

export const callKinds = {
  send: 0,
  request: 1,
  receive: 2,
  watch: 3,
  info: 4,
  copyRead: 5,
  copyWrite: 6,
  notification: 7,
  lookup: 8,
  bind: 9,
} as const;
export type CallKind = (typeof callKinds)[keyof typeof callKinds];

export const states = {
  /** In the caller's kernel: not a trace of it anywhere else. */
  queued: 0,
  /** In a mailbox of this kernel. */
  waiting: 1,
  /** On its way to another kernel or there; that may have been taken. */
  sent: 2,
  /** A request whose message has been taken. */
  open: 3,
  /** It has its outcome. */
  done: 4,
} as const;
export type CallState = (typeof states)[keyof typeof states];

export class Call implements Received {
  // A queue: mailbox, open requests, receivers, outlet.
  next: Call | null = null;
  previous: Call | null = null;
  queue: CallQueue | null = null;
  // The timer wheel.
  timerNext: Call | null = null;
  timerPrevious: Call | null = null;
  /** Where in the wheel: −1 nowhere, −2 paused. */
  timerSlot = -1;
  /** Until armed: the timeout, in milliseconds; then the deadline. */
  timerMs = 0;

  readonly kind: CallKind;
  state: CallState = states.queued;
  readonly source: Endpoint;
  /** Number of the call among those of its source; 0 while nobody outside of this kernel has heard of it. */
  number = 0;
  readonly destination: Endpoint;
  readonly type: number;
  body: unknown;
  /** Of the source. */
  readonly group: number;
  /** Null for what came from another kernel. */
  caller: Proc | null;
  /** Who has it in its mailbox, or has taken it. */
  receiver: Proc | null = null;
  outcome: Outcome | null = null;
  /** Of a request: the reply. Of a receive: the message. Of others: what they return. */
  result: Message | null = null;
  /** What a receive takes: requests only, or all. */
  requestsOnly = false;
  /** The caller has given up, and waits for the other kernel's word. */
  cancelled: "TIMED_OUT" | "CANCELLED" | null = null;
  /** Its process is frozen, and its outcome waits with it. */
  answered = false;
  /** Taken, and its sender's kernel has not been told. */
  untold = false;
  /** Of a message from another kernel: that one. Else 0. */
  via = 0;
  /** It came when this kernel had not read that its source is with that one. */
  early = false;
  /** Counted in the windows and totals of a destination on another kernel. */
  bytes = 0;
  /** The facade's: whom to wake. */
  waiter: ((call: Call) => void) | null = null;

  constructor(
    kind: CallKind,
    caller: Proc | null,
    source: Endpoint,
    destination: Endpoint,
    type: number,
    body: unknown,
    group: number,
  ) {
    this.kind = kind;
    this.caller = caller;
    this.source = source;
    this.destination = destination;
    this.type = type;
    this.body = body;
    this.group = group;
  }

  get isRequest(): boolean {
    return this.kind === callKinds.request;
  }
  get isNotification(): boolean {
    return this.kind === callKinds.notification;
  }
}

export function isCopy({ kind }: Call): boolean {
  return kind === callKinds.copyRead || kind === callKinds.copyWrite;
}

/** Tells calls of all processes apart. */
export function callName(source: Endpoint, number: number): string {
  return `${source}/${number}`;
}
