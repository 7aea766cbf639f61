/** A process that comes to this kernel: see moves-machine.ts. */
import { messageBytesMax } from "../limits.ts";
import { Call, type CallKind, callKinds, callName, states } from "./call.ts";
import { dispatch } from "./calls/do-send.ts";
import type { Endpoint } from "./endpoint.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { bodyBytes } from "./message.ts";
import type { MovedCall, MoveState } from "./move-state.ts";
import { Notice } from "./notices.ts";
import { Proc } from "./proc.ts";
import { doubt } from "./settling.ts";
import type { KernelId } from "./view.ts";

export interface Arrival {
  endpoint: Endpoint;
  g: number;
  from: KernelId;
  state: MoveState;
  image: Uint8Array;
  /** It holds the image; the host has made a process of it. */
  phase: "copying" | "held" | "accepted";
  host: unknown;
  waiter: ((call: Call) => void) | null;
}

/** `moved` has been read: the process lives here. */
export function arrive(kernel: KernelMachine, { endpoint, state, host, waiter }: Arrival): void {
  const proc = new Proc(endpoint, state.privileges, state.callsMax);
  proc.host = host;
  proc.name = state.name;
  proc.lastCall = state.lastCall;
  proc.lastGrant = state.lastGrant;
  for (const [source, count] of rows(state.notifications, 2)) proc.notifications.set(source!, count!);
  for (const [source, number] of rows(state.notified, 2)) proc.notified.set(source!, number!);
  proc.untaken = new Set(rows(state.untaken, 2).map(([source, number]) => callName(source!, number!)));
  proc.untakenSince = state.since;
  for (const [source, number] of rows(state.open, 2)) {
    const request = mail(callKinds.request, source!, endpoint, number!);
    request.state = states.open;
    request.receiver = proc;
    proc.open.push(request);
  }
  kernel.bindings.enter(proc);
  kernel.moves.updateDetour(proc);
  kernel.sink.moveEnded(endpoint, "moved", "destination");
  for (const moved of state.calls) if (moved.open) bring(kernel, recreate(kernel, proc, moved, waiter));
  if (kernel.view.removedAt > state.index) {
    for (const outlet of [...kernel.peers.outlets.values()]) {
      if (outlet.displaced && outlet.open.length > 0) doubt(kernel, outlet);
    }
  }
  for (const moved of state.calls) {
    if (!moved.open) redo(kernel, recreate(kernel, proc, { ...moved, number: 0 }, waiter));
  }
  for (const [destination, number, count, nextNumber, nextCount] of rows(state.notices, 5)) {
    const outlet = kernel.peers.outletFor(destination!);
    if (!outlet) continue;
    const notice = new Notice(endpoint, proc.group, number!, count!);
    Object.assign(notice, { wasSent: true, nextNumber, nextCount });
    outlet.notices.set(endpoint, notice);
    kernel.peers.pump(outlet);
  }
}

/** A request that has been taken, or a call whose answer is on its way. */
function bring(kernel: KernelMachine, call: Call): void {
  const { peers } = kernel;
  call.state = states.open;
  call.caller!.away.set(call.number, call);
  const outlet = peers.outletFor(call.destination);
  if (!outlet) {
    peers.finishAway(call, peers.absence(call.destination));
    return;
  }
  call.bytes = bodyBytes(call.body, messageBytesMax);
  outlet.open.push(call);
  outlet.displaced = true;
}

function redo(kernel: KernelMachine, call: Call): void {
  if (call.kind === callKinds.send || call.kind === callKinds.request) dispatch(kernel, call);
  else kernel.ask(call);
}

function recreate(
  kernel: KernelMachine,
  proc: Proc,
  { kind, destination, type, body, number, timeoutMs }: MovedCall,
  waiter: ((call: Call) => void) | null,
): Call {
  const call = new Call(kind as CallKind, proc, proc.endpoint, destination, type, body, proc.group);
  call.number = number;
  call.waiter = waiter;
  proc.underWay++;
  if (proc.callsMax === 1) proc.blockedOn = call;
  if (timeoutMs >= 0) kernel.timers.arm(call, timeoutMs);
  return call;
}

/** A call of a process of another kernel. */
export function mail(kind: CallKind, source: Endpoint, destination: Endpoint, number: number): Call {
  const call = new Call(kind, null, source, destination, 0, null, 0);
  call.number = number;
  return call;
}

function rows(list: readonly number[], width: number): number[][] {
  return Array.from({ length: list.length / width }, (_, i) => list.slice(i * width, (i + 1) * width));
}
