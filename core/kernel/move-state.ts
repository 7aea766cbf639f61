/**
 * What a process takes along in its kernel's name when it moves: its privileges, what it owes and what it is owed.
 * Messages that it has not taken stay behind: their senders keep them and send them again (settling.ts).
 *
 * It comes from another kernel of the instance and is checked here, where it enters.
 */
import { notifiersKept, processCallsMax } from "../limits.ts";
import { type Call, callKinds, states } from "./call.ts";
import { type Endpoint, isEndpoint } from "./endpoint.ts";
import type { Notice } from "./notices.ts";
import { isPrivilegeBits, type PrivilegeBits } from "./privileges.ts";
import type { Proc } from "./proc.ts";
import type { TimerWheel } from "./timer-wheel.ts";

export interface MovedCall {
  kind: number;
  number: number;
  destination: Endpoint;
  type: number;
  body: unknown;
  /** Its message has been taken, or its outcome follows. Else nobody has heard of it, or has forgotten it. */
  open: boolean;
  /** Left of its timeout; −1: for ever. */
  timeoutMs: number;
}

export interface MoveState {
  privileges: PrivilegeBits;
  callsMax: number;
  name: string | null;
  lastCall: number;
  lastGrant: number;
  /** Index of the record by which it has been where it was. */
  since: number;
  /** Of the last record that its kernel has acted upon: of kernels that are removed later it may know nothing. */
  index: number;
  /** [source, count, …] */
  notifications: number[];
  /** [source, number of its last, …] */
  notified: number[];
  /** Its own that are not known to have arrived: [destination, number, count, next number, next count, …]. */
  notices: number[];
  /** Requests taken and not replied to: [source, call, …]. */
  open: number[];
  /** Messages that had arrived and were not taken: [source, call, …]. */
  untaken: number[];
  /** Those to the same destination in order. */
  calls: MovedCall[];
}

/** Of a frozen process. `notices` by destination. */
export function exportState(
  proc: Proc,
  since: number,
  index: number,
  calls: readonly Call[],
  notices: ReadonlyMap<Endpoint, Notice>,
  timers: TimerWheel,
): MoveState {
  const names = (queue: readonly Call[]) => queue.flatMap((call) => [call.source, call.number]);
  return {
    privileges: proc.privileges,
    callsMax: proc.callsMax,
    name: proc.name,
    lastCall: proc.lastCall,
    lastGrant: proc.lastGrant,
    since,
    index,
    notifications: [...proc.notifications].flat(),
    notified: [...proc.notified].flat(),
    notices: [...notices].flatMap(([destination, { number, count, nextNumber, nextCount }]) => {
      return [destination, number, count, nextNumber, nextCount];
    }),
    open: names(proc.open.toArray()),
    untaken: names(proc.mailbox.toArray().filter((call) => !call.caller)),
    calls: calls.map((call) => ({
      kind: call.kind,
      number: call.number,
      destination: call.destination,
      type: call.type,
      body: call.body,
      open: call.answered || call.state === states.open,
      timeoutMs: timers.remaining(call),
    })),
  };
}

const movable: readonly number[] = [
  callKinds.send,
  callKinds.request,
  callKinds.watch,
  callKinds.info,
  callKinds.lookup,
];

/** Null for what no kernel sends. */
export function parseState(value: unknown): MoveState | null {
  const state = value as MoveState | null;
  if (typeof state !== "object" || state === null) return null;
  const isWhole =
    isPrivilegeBits(state.privileges) &&
    isCount(state.callsMax) &&
    state.callsMax >= 1 &&
    state.callsMax <= processCallsMax &&
    (state.name === null || typeof state.name === "string") &&
    isCount(state.lastCall) &&
    isCount(state.lastGrant) &&
    isCount(state.since) &&
    isCount(state.index) &&
    isRows(state.notifications, 2) &&
    isRows(state.notified, 2) &&
    state.notified.length <= 2 * notifiersKept &&
    isRows(state.notices, 5) &&
    isRows(state.open, 2) &&
    isRows(state.untaken, 2) &&
    Array.isArray(state.calls) &&
    state.calls.length <= 2 * processCallsMax &&
    state.calls.every(isMovedCall);
  return isWhole ? state : null;
}

function isCount(n: unknown): boolean {
  return Number.isSafeInteger(n) && (n as number) >= 0;
}

/** Rows of an endpoint and counts, one after another. */
function isRows(list: unknown, width: number): boolean {
  return (
    Array.isArray(list) &&
    list.length % width === 0 &&
    list.every((n, i) => (i % width === 0 ? isEndpoint(n) : isCount(n)))
  );
}

function isMovedCall(call: MovedCall): boolean {
  return (
    typeof call === "object" &&
    call !== null &&
    movable.includes(call.kind) &&
    isCount(call.number) &&
    isCount(call.type) &&
    Number.isSafeInteger(call.destination) &&
    typeof call.open === "boolean" &&
    (!call.open || (call.number > 0 && isEndpoint(call.destination))) &&
    typeof call.timeoutMs === "number"
  );
}
