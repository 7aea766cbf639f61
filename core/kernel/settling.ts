/**
 * What a sender does when its destination has moved while messages were under way to it.
 *
 * The old kernel has frozen the process, and what it had not taken is never taken there. So the sender sends a marker
 * behind its messages; the answer comes behind all answers to them, and then whatever has none was not taken and goes
 * to the new kernel, in order, before anything newer. Nothing depends on the old kernel's memory: if it dies first, the
 * sender asks the new one (an audit), which has brought along the names of the messages that had arrived and were not
 * taken, and of the requests that are open. What neither knows was on its way, or was answered by the dead kernel:
 * OUTCOME_UNKNOWN, the one place in a move where it comes up.
 *
 * The same audit serves calls that a process has brought along in its own move (`via`), when the kernel by which they
 * went has died, or the destination has moved, too.
 */
import { type Call, callName, states } from "./call.ts";
import { dispatchHere } from "./calls/do-send.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { callStates, messageTable } from "./messages.ts";
import type { Outlet } from "./outlet.ts";
import type { Proc } from "./proc.ts";
import type { KernelId } from "./view.ts";

export function beginSettling(kernel: KernelMachine, outlet: Outlet, to: KernelId, g: number): void {
  if (outlet.phase === "settling") {
    outlet.target = { kernel: to, g };
    if (outlet.audit !== 0) startAudit(kernel, outlet);
    return;
  }
  outlet.target = { kernel: to, g };
  if (outlet.sent.length + outlet.open.length === 0) {
    conclude(kernel, outlet, new Set());
    return;
  }
  outlet.phase = "settling";
  outlet.audit = 0;
  if (kernel.view.members.has(outlet.kernel)) {
    kernel.transmit(outlet.kernel, [messageTable.marker.number, outlet.endpoint, g]);
  } else startAudit(kernel, outlet);
}

/** The old kernel's word: all its answers have come. */
export function settled(kernel: KernelMachine, outlet: Outlet): void {
  const brought = [...outlet.sent.toArray(), ...outlet.open.toArray()].some((call) => call.via !== 0);
  // Answers to calls that were brought along may still be on another way.
  if (brought) startAudit(kernel, outlet, (call) => call.via !== 0);
  else conclude(kernel, outlet, new Set());
}

/** Asks whoever has the endpoint now what it knows of the calls. The outlet settles until it has answered. */
export function startAudit(
  kernel: KernelMachine,
  outlet: Outlet,
  which: (call: Call) => boolean = () => true,
): void {
  outlet.target ??= { kernel: outlet.kernel, g: outlet.g };
  outlet.phase = "settling";
  outlet.audited = [...outlet.sent.toArray(), ...outlet.open.toArray()].filter(which);
  outlet.audit = kernel.nextAudit();
  const names = outlet.audited.flatMap((call) => [call.source, call.number]);
  const { number } = messageTable.audit;
  kernel.transmit(outlet.target.kernel, [number, outlet.audit, kernel.view.index, outlet.endpoint, names]);
}

/** The audit's answer. None for each call: the endpoint is not there, and records to come will say where it is. */
export function audited(kernel: KernelMachine, outlet: Outlet, found: readonly number[]): void {
  const calls = outlet.audited;
  if (found.length !== calls.length) return;
  const kept = new Set<Call>();
  for (const [i, call] of calls.entries()) {
    if (call.state === states.done || (call.queue !== outlet.sent && call.queue !== outlet.open)) continue;
    const state = found[i];
    if (state === callStates.open) {
      call.via = 0;
      kernel.peers.taken(call);
    } else if (state === callStates.waiting) {
      // While the kernel by which it went lives, its answer still comes by that one.
      if (!kernel.view.members.has(call.via)) call.via = 0;
      kept.add(call);
    } else if (state === callStates.untaken && call.state === states.sent) call.via = 0;
    else kernel.peers.finishAway(call, "OUTCOME_UNKNOWN");
  }
  conclude(kernel, outlet, kept);
}

/** All is known: what was not taken is sent again, then the rest. `kept` are in the mailbox where they belong. */
export function conclude(kernel: KernelMachine, outlet: Outlet, kept: ReadonlySet<Call>): void {
  const first = outlet.queue.head;
  const givenUp: Call[] = [];
  for (const call of outlet.sent.toArray()) {
    if (kept.has(call)) continue;
    outlet.sent.remove(call);
    outlet.sentBytes -= call.bytes;
    call.via = 0;
    call.state = states.queued;
    if (first) outlet.queue.insertBefore(first, call);
    else outlet.queue.push(call);
    if (call.cancelled) givenUp.push(call);
  }
  const { kernel: to, g } = outlet.target!;
  outlet.kernel = to;
  outlet.g = g;
  outlet.target = null;
  outlet.audit = 0;
  outlet.audited = [];
  // While it settles nothing is sent, so that nothing overtakes what has just been put in front.
  for (const call of givenUp) kernel.peers.finishAway(call, call.cancelled!);
  outlet.phase = outlet.group >= 0 ? "open" : "unresolved";
  kernel.moves.settled(outlet.endpoint);
  if (to === 0) {
    const { peers } = kernel;
    outlet.phase = "settling";
    for (const queue of [outlet.queue, outlet.open, outlet.asks]) {
      for (const call of queue.toArray()) peers.finishAway(call, "DIED");
    }
    peers.outlets.delete(outlet.endpoint);
    return;
  }
  for (const call of outlet.asks.toArray()) kernel.peers.askAgain(outlet, call);
  kernel.peers.pump(outlet);
}

/** The endpoint has come to this kernel: what waited for it goes there, in order. */
export function redispatchHere(kernel: KernelMachine, outlet: Outlet): void {
  const calls = outlet.queue.toArray().filter((call) => !call.caller?.held);
  for (const call of calls) outlet.queue.remove(call);
  const to = kernel.table.find(outlet.endpoint);
  if (to) kernel.moves.updateDetour(to);
  for (const call of calls) {
    if (to && call.caller) dispatchHere(kernel, call, call.caller, to);
    else kernel.peers.finishAway(call, kernel.peers.absence(call.destination));
  }
  for (const [source, count] of outlet.notifications) {
    outlet.notifications.delete(source);
    if (to) kernel.notifyProc(to, source, count);
  }
  if (outlet.isIdle) kernel.peers.outlets.delete(outlet.endpoint);
}

/** What this kernel knows of a call to a process that it holds. */
export function stateOfCall(proc: Proc, source: number, number: number): number {
  for (const call of proc.mailbox.toArray()) {
    if (call.source === source && call.number === number) return callStates.waiting;
  }
  for (const call of proc.open.toArray()) {
    if (call.source === source && call.number === number) return callStates.open;
  }
  return proc.untaken.has(callName(source, number)) ? callStates.untaken : callStates.none;
}
