/** notify: never waits and holds no memory but a counter per source; delivered before messages. */
import { ANY, type Endpoint, isEndpoint, SELF } from "../endpoint.ts";
import { finish } from "../finish.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { notificationType } from "../message.ts";
import type { Outcome } from "../outcome.ts";
import { callBits } from "../privileges.ts";
import type { Proc } from "../proc.ts";
import { notification } from "./do-receive.ts";

export function doNotify(kernel: KernelMachine, caller: Proc, destination: Endpoint): Outcome {
  if ((caller.calls & callBits.notify) === 0) return "NOT_ALLOWED";
  if (!caller.bound) return "NOT_BOUND";
  if (kernel.exited) return "EXITED";
  const endpoint = destination === SELF ? caller.endpoint : destination;
  const to = kernel.table.find(endpoint);
  if (!to || caller.held || to.held) {
    return isEndpoint(endpoint) ? kernel.peers.notify(caller, endpoint) : "NOT_BOUND";
  }
  if (((caller.to >>> to.group) & 1) === 0 || ((to.from >>> caller.group) & 1) === 0) return "NOT_ALLOWED";
  caller.counters.sentLocal++;
  if (kernel.watchLocal !== null) {
    kernel.watchLocal("notify", caller.endpoint, endpoint, notificationType);
  }
  notifyProc(kernel, to, caller.endpoint, 1);
  return "OK";
}

/** Wakes a receive that takes it, else it stays pending. */
export function notifyProc(kernel: KernelMachine, to: Proc, source: Endpoint, count: number): void {
  if (!kernel.frozen && !to.held && !to.notifications.has(source)) {
    for (let receive = to.receivers.head; receive; receive = receive.next) {
      if (receive.requestsOnly || (receive.destination !== ANY && receive.destination !== source)) continue;
      to.receivers.remove(receive);
      finish(kernel, receive, "OK", notification(source, count));
      return;
    }
  }
  to.notifications.set(source, (to.notifications.get(source) ?? 0) + count);
}
