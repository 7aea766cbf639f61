/**
 * How a kernel gets certainty of what it has under way to one endpoint, when that has moved, or when a caller is to.
 *
 * Behind its messages it sends a marker. The other kernel forgets what of them has not been taken and says so
 * (`settled`), behind all answers to the others: what has none by then was not taken, and is sent again, in order,
 * before anything newer, to wherever the endpoint is. Requests that were taken stay open.
 *
 * Nothing depends on the memory of the other kernel: if it dies first, whoever has the endpoint now is asked (an
 * audit). It has brought along the names of the messages that had arrived and were not taken, and of the requests that
 * are open. What it does not know was on its way, or was answered by the dead kernel: OUTCOME_UNKNOWN.
 */
import { callName, states } from "./call.ts";
import { dispatchHere } from "./calls/do-send.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { callStates, messageTable } from "./messages.ts";
import { deliverNotices } from "./notices.ts";
import type { Outlet, Stay } from "./outlet.ts";
import type { Proc } from "./proc.ts";

/** `to`: where the endpoint is from now on. */
export function settle(kernel: KernelMachine, outlet: Outlet, to: Stay): void {
  if (to.kernel !== outlet.kernel) outlet.displaced = true;
  outlet.target = { kernel: to.kernel, since: to.since };
  if (outlet.phase === "settling") {
    if (outlet.marker === 0) askOrConclude(kernel, outlet);
    return;
  }
  outlet.phase = "settling";
  outlet.audit = 0;
  if (!outlet.isUnderWay) conclude(kernel, outlet);
  else if (kernel.view.members.has(outlet.kernel)) {
    outlet.marker = kernel.nextTicket();
    const { endpoint, since, marker } = outlet;
    kernel.transmit(outlet.kernel, [messageTable.marker.number, endpoint, since, marker]);
  } else askOrConclude(kernel, outlet);
}

/** The kernel to which the marker went is no more. */
export function markerLost(kernel: KernelMachine, outlet: Outlet): void {
  outlet.marker = 0;
  askOrConclude(kernel, outlet);
}

function askOrConclude(kernel: KernelMachine, outlet: Outlet): void {
  // What the process took has died with it.
  if (outlet.target?.kernel === 0) kernel.peers.endOutlet(outlet);
  // Of notifications whoever has the endpoint knows by their numbers.
  else if (outlet.sent.length + outlet.open.length === 0) conclude(kernel, outlet);
  else startAudit(kernel, outlet);
}

/** A kernel has died that may have had answers to its open requests. */
export function doubt(kernel: KernelMachine, outlet: Outlet): void {
  outlet.doubtful = true;
  // Behind the marker's answer, else at once.
  if (outlet.marker === 0) startAudit(kernel, outlet);
}

/** Asks whoever has the endpoint now what it knows of the calls. */
export function startAudit(kernel: KernelMachine, outlet: Outlet): void {
  outlet.audited = [...outlet.sent.toArray(), ...outlet.open.toArray()];
  outlet.audit = kernel.nextTicket();
  const names = outlet.audited.flatMap((call) => [call.source, call.number]);
  const { index } = kernel.view;
  const { audit, endpoint, since } = outlet;
  kernel.transmit(outlet.stay.kernel, [messageTable.audit.number, audit, index, endpoint, since, names]);
}

/** The audit's answer. */
export function audited(kernel: KernelMachine, outlet: Outlet, found: readonly number[]): void {
  const calls = outlet.audited;
  // The endpoint was not there: a record to come says where it is, and then it is asked again.
  if (found.length !== calls.length) return;
  outlet.audit = 0;
  outlet.audited = [];
  outlet.doubtful = false;
  const isSettling = outlet.phase === "settling";
  for (const [i, call] of calls.entries()) {
    const isSent = call.queue === outlet.sent;
    if (!isSent && call.queue !== outlet.open) continue;
    const state = found[i];
    if (state === callStates.open) kernel.peers.taken(call);
    else if (state !== callStates.untaken || !isSent) kernel.peers.finishAway(call, "OUTCOME_UNKNOWN");
  }
  if (isSettling) conclude(kernel, outlet);
  else kernel.moves.settled(outlet);
}

/** All is known: what was not taken is sent again, then the rest. */
export function conclude(kernel: KernelMachine, outlet: Outlet): void {
  const { peers } = kernel;
  const returned = outlet.sent.toArray();
  for (const call of returned) outlet.sent.remove(call);
  outlet.sentBytes = 0;
  outlet.putBack(returned);
  for (const notice of outlet.notices.values()) notice.isSent = false;
  const { kernel: to, since } = outlet.target!;
  const isElsewhere = to !== outlet.kernel || since !== outlet.since;
  outlet.kernel = to;
  outlet.since = since;
  outlet.target = null;
  outlet.marker = 0;
  outlet.audit = 0;
  // While it settles nothing is sent, so that nothing overtakes what has just been put in front.
  for (const call of returned) if (call.cancelled) peers.finishAway(call, call.cancelled);
  if (to === 0) {
    peers.endOutlet(outlet);
    return;
  }
  outlet.phase = outlet.group >= 0 ? "open" : "unresolved";
  if (outlet.open.length === 0) outlet.doubtful = false;
  else if (outlet.doubtful) startAudit(kernel, outlet);
  kernel.moves.settled(outlet);
  for (const call of outlet.asks.toArray()) {
    if (isElsewhere) call.state = states.queued;
    if (call.state === states.queued) peers.askAgain(outlet, call);
  }
  peers.pump(outlet);
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
  if (!to) outlet.notices.clear();
  else if (!to.held) deliverNotices(kernel, outlet, to);
  if (outlet.isIdle) kernel.peers.outlets.delete(outlet.endpoint);
}

/** What this kernel knows of a call to a process that it holds, which was sent to its stay of `since`. */
export function stateOfCall(proc: Proc, source: number, number: number, since: number): number {
  for (let call = proc.open.head; call; call = call.next) {
    if (call.source === source && call.number === number) return callStates.open;
  }
  const isUntaken = proc.untakenSince === since && proc.untaken.has(callName(source, number));
  return isUntaken ? callStates.untaken : callStates.none;
}
