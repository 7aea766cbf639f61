/** receive and receiveRequest: notifications first, then the message that has waited longest. */
import { Call, callKinds } from "../call.ts";
import { take } from "../deliver.ts";
import { ANY, type Endpoint, NONE } from "../endpoint.ts";
import { finish } from "../finish.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { notificationType } from "../message.ts";
import type { Outcome } from "../outcome.ts";
import { callBits } from "../privileges.ts";
import type { Proc } from "../proc.ts";

/** What is there for the process now, taken; null if it has to wait. */
export function tryReceive(
  kernel: KernelMachine,
  caller: Proc,
  from: Endpoint,
  requestsOnly: boolean,
): Call | null {
  if (kernel.frozen || caller.held || !caller.bound || (caller.calls & callBits.receive) === 0) return null;
  // Whoever asked before comes before.
  if (caller.receivers.head) return null;
  return takeNext(kernel, caller, from, requestsOnly);
}

/** A receive that waits: its result is the message. */
export function doReceive(
  kernel: KernelMachine,
  caller: Proc,
  from: Endpoint,
  requestsOnly: boolean,
  timeoutMs: number | undefined,
): Call {
  const receive = new Call(callKinds.receive, caller, caller.endpoint, from, 0, null, caller.group);
  receive.requestsOnly = requestsOnly;
  const refusal = refuse(kernel, caller);
  if (refusal) {
    finish(kernel, receive, refusal);
    return receive;
  }
  const call = tryReceive(kernel, caller, from, requestsOnly);
  if (call) {
    finish(kernel, receive, "OK", call);
    return receive;
  }
  if (timeoutMs === 0 && !kernel.frozen) {
    finish(kernel, receive, "TIMED_OUT");
    return receive;
  }
  if (timeoutMs !== undefined) kernel.timers.arm(receive, timeoutMs);
  receive.receiver = caller;
  caller.receivers.push(receive);
  return receive;
}

/** Receives that wait meet what has come while none could: after a thaw or the end of a hold. */
export function rematch(kernel: KernelMachine, proc: Proc): void {
  if (kernel.frozen || proc.held) return;
  for (const receive of proc.receivers.toArray()) {
    const call = takeNext(kernel, proc, receive.destination, receive.requestsOnly);
    if (!call) continue;
    proc.receivers.remove(receive);
    finish(kernel, receive, "OK", call);
  }
}

function takeNext(kernel: KernelMachine, to: Proc, from: Endpoint, requestsOnly: boolean): Call | null {
  if (to.notifications.size > 0 && !requestsOnly) {
    const notification = takeNotification(to, from);
    if (notification) return notification;
  }
  for (let call = to.mailbox.head; call; call = call.next) {
    if ((from !== ANY && call.source !== from) || (requestsOnly && call.kind !== callKinds.request)) continue;
    to.mailbox.remove(call);
    take(kernel, call, to);
    return call;
  }
  return null;
}

function takeNotification(to: Proc, from: Endpoint): Call | null {
  const source = from === ANY ? to.notifications.keys().next().value! : from;
  const count = to.notifications.get(source);
  if (count === undefined) return null;
  to.notifications.delete(source);
  return notification(source, count);
}

export function notification(source: Endpoint, count: number): Call {
  return new Call(callKinds.notification, null, source, NONE, notificationType, count, 0);
}

function refuse(kernel: KernelMachine, caller: Proc): Outcome | null {
  if ((caller.calls & callBits.receive) === 0) return "NOT_ALLOWED";
  if (!caller.bound) return "NOT_BOUND";
  if (caller.receivers.length >= caller.callsMax) return "BUSY";
  return kernel.exited ? "EXITED" : null;
}
