/**
 * send and sendrec. A send is over when the receiver's process has taken the message, a sendrec when it has replied:
 * a rendezvous, so that nothing is ever stored but what somebody waits for.
 */
import { Call, callKinds, states } from "../call.ts";
import { deliver } from "../deliver.ts";
import { type Endpoint, isEndpoint, SELF } from "../endpoint.ts";
import { finish } from "../finish.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { type Message, refuseMessage } from "../message.ts";
import type { Outcome } from "../outcome.ts";
import { callBits } from "../privileges.ts";
import type { Proc } from "../proc.ts";

/** `timeoutMs` undefined: for ever; 0: only if the receiver waits for it now. */
export function doSend(
  kernel: KernelMachine,
  caller: Proc,
  kind: typeof callKinds.send | typeof callKinds.request,
  destination: Endpoint,
  message: Message,
  timeoutMs: number | undefined,
): Call {
  const to = destination === SELF ? caller.endpoint : destination;
  const call = new Call(kind, caller, caller.endpoint, to, message.type, message.body, caller.group);
  caller.underWay++;
  const refusal = refuse(kernel, caller, kind, message);
  if (refusal) {
    finish(kernel, call, refusal);
    return call;
  }
  if (caller.callsMax === 1) caller.blockedOn = call;
  if (timeoutMs !== undefined) kernel.timers.arm(call, timeoutMs);
  if (kernel.frozen) kernel.backlog.park(() => dispatch(kernel, call));
  else if (caller.held) finish(kernel, call, "BUSY");
  else dispatch(kernel, call);
  if (timeoutMs === 0 && call.state === states.waiting) kernel.expire(call);
  return call;
}

/** Sends a call on its way, as the View has it now. */
export function dispatch(kernel: KernelMachine, call: Call): void {
  if (call.state === states.done) return;
  const { caller } = call;
  const to = kernel.table.find(call.destination);
  if (!to || !caller || caller.detour || to.detour) {
    dispatchAway(kernel, call);
    return;
  }
  dispatchHere(kernel, call, caller, to);
}

function dispatchAway(kernel: KernelMachine, call: Call): void {
  const { caller, destination } = call;
  if (!isEndpoint(destination)) {
    kernel.peers.finishAway(call, "NOT_BOUND");
    return;
  }
  const to = kernel.table.find(destination);
  // Older calls may still be on their way from where it was.
  const mayGo = to && caller && !caller.held && !kernel.peers.isBehind(destination);
  if (mayGo) dispatchHere(kernel, call, caller, to);
  else kernel.peers.dispatch(call);
}

/** To a process of this kernel. */
export function dispatchHere(kernel: KernelMachine, call: Call, caller: Proc, to: Proc): void {
  const refusal = refuseTo(caller, to, call);
  if (refusal) {
    finish(kernel, call, refusal);
    return;
  }
  caller.counters.sentLocal++;
  if (kernel.watchLocal !== null) {
    kernel.watchLocal(call.isRequest ? "request" : "send", call.source, call.destination, call.type);
  }
  deliver(kernel, call, to);
}

function refuse(kernel: KernelMachine, caller: Proc, kind: number, message: Message): Outcome | null {
  const bit = kind === callKinds.send ? callBits.send : callBits.sendrec;
  if ((caller.calls & bit) === 0) return "NOT_ALLOWED";
  if (caller.underWay > caller.callsMax) return "BUSY";
  if (!caller.bound) return "NOT_BOUND";
  return kernel.exited ? "EXITED" : refuseMessage(message);
}

function refuseTo(caller: Proc, to: Proc, call: Call): Outcome | null {
  if (((caller.to >>> to.group) & 1) === 0 || ((to.from >>> caller.group) & 1) === 0) return "NOT_ALLOWED";
  if (to.callsMax === 1 && caller.callsMax === 1 && isDeadlock(caller, to, call)) return "DEADLOCK";
  return null;
}

/** Whether the receiver waits, perhaps through others, for the caller. All of them make one call at a time. */
function isDeadlock(caller: Proc, to: Proc, call: Call): boolean {
  let waits: Proc | null = to;
  while (waits && waits !== caller) {
    const on: Call | null = waits.blockedOn;
    if (!on || on === call) return false;
    waits = on.receiver;
  }
  return waits === caller;
}
