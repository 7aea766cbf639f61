/**
 * What a process takes along in its kernel's name when it moves: its privileges, what it owes and what it is owed.
 * Messages that it has not taken stay behind: their senders keep them and send them again (settling.ts).
 *
 * It comes from another kernel of the instance and is checked here, where it enters.
 */
import { processCallsMax } from "../limits.ts";
import { type Call, callKinds, states } from "./call.ts";
import { type Endpoint, isEndpoint } from "./endpoint.ts";
import { isPrivilegeBits, type PrivilegeBits } from "./privileges.ts";
import type { Proc } from "./proc.ts";
import type { TimerWheel } from "./timer-wheel.ts";
import type { KernelId } from "./view.ts";

export interface MovedCall {
  kind: number;
  /** 0: no other kernel has heard of it. */
  number: number;
  destination: Endpoint;
  type: number;
  body: unknown;
  /** Its message has been taken. */
  open: boolean;
  /** Its answer has come to the old kernel, and follows. */
  answered: boolean;
  /** Where its message went, and by which of the destination's moves; 0: nowhere yet. */
  at: KernelId;
  g: number;
  /** Left of its timeout; −1: for ever. */
  timeoutMs: number;
}

export interface MoveState {
  privileges: PrivilegeBits;
  callsMax: number;
  name: string | null;
  lastCall: number;
  lastGrant: number;
  /** [source, count, …] */
  notifications: number[];
  /** Requests taken and not replied to: [source, call, …]. */
  open: number[];
  /** Messages that had arrived and were not taken: [source, call, …]. */
  untaken: number[];
  calls: MovedCall[];
}

/** A call, and where its message went, by its outlet. */
export interface CallAt {
  call: Call;
  at: KernelId;
  g: number;
}

export function exportState(proc: Proc, timers: TimerWheel, calls: readonly CallAt[]): MoveState {
  const names = (queue: readonly Call[]) => queue.flatMap((call) => [call.source, call.number]);
  const remote = proc.mailbox.toArray().filter((call) => !call.caller);
  const before = [...proc.untaken].flatMap((name) => name.split("/").map(Number));
  return {
    privileges: proc.privileges,
    callsMax: proc.callsMax,
    name: proc.name,
    lastCall: proc.lastCall,
    lastGrant: proc.lastGrant,
    notifications: [...proc.notifications].flat(),
    open: names(proc.open.toArray()),
    untaken: [...names(remote), ...before],
    calls: calls.map(({ call, at, g }) => ({
      kind: call.kind,
      number: call.number,
      destination: call.destination,
      type: call.type,
      body: call.body,
      open: call.state === states.open,
      answered: call.answered,
      at,
      g,
      timeoutMs: timers.remaining(call),
    })),
  };
}

/** Null for what no kernel sends. */
export function parseState(value: unknown): MoveState | null {
  const state = value as MoveState | null;
  if (typeof state !== "object" || state === null) return null;
  const isCount = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  const isPairs = (list: unknown) =>
    Array.isArray(list) &&
    list.length % 2 === 0 &&
    list.every((n, i) => (i % 2 === 0 ? isEndpoint(n) : isCount(n)));
  const isWhole =
    isPrivilegeBits(state.privileges) &&
    isCount(state.callsMax) &&
    state.callsMax >= 1 &&
    state.callsMax <= processCallsMax &&
    (state.name === null || typeof state.name === "string") &&
    isCount(state.lastCall) &&
    isCount(state.lastGrant) &&
    isPairs(state.notifications) &&
    isPairs(state.open) &&
    isPairs(state.untaken) &&
    Array.isArray(state.calls) &&
    state.calls.length <= 2 * processCallsMax &&
    state.calls.every(isMovedCall);
  return isWhole ? state : null;
}

function isMovedCall(call: MovedCall): boolean {
  const kinds: number[] = [
    callKinds.send,
    callKinds.request,
    callKinds.watch,
    callKinds.info,
    callKinds.lookup,
  ];
  return (
    kinds.includes(call.kind) &&
    [call.number, call.type, call.at, call.g].every((n) => Number.isSafeInteger(n) && n >= 0) &&
    Number.isSafeInteger(call.destination) &&
    typeof call.open === "boolean" &&
    typeof call.answered === "boolean" &&
    typeof call.timeoutMs === "number"
  );
}
