/** A process of another kernel waits for an endpoint of this one to be bound, or to be no longer. */
import { callKinds } from "../call.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import type { KernelMessage } from "../messages.ts";
import { mail } from "../arrival.ts";
import type { KernelId } from "../view.ts";

export function handleWatch(kernel: KernelMachine, from: KernelId, m: KernelMessage<"watch">): void {
  const [, source, number, destination, index, bound] = m;
  if (kernel.view.index < index) {
    kernel.backlog.arrivedAhead(from, m);
    return;
  }
  const call = mail(callKinds.watch, source, destination, number);
  call.via = from;
  if (kernel.isElsewhere(destination)) kernel.missing(from, source, number, destination);
  else kernel.bindings.watch(call, destination, bound === 1);
}
