/** A process of another kernel waits for an endpoint of this one to be bound, or to be no longer. */
import { callKinds } from "../call.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import type { KernelMessage } from "../messages.ts";
import { mail } from "../moves-machine.ts";
import type { KernelId } from "../view.ts";

export function handleWatch(
  kernel: KernelMachine,
  from: KernelId,
  [, source, number, destination, bound]: KernelMessage<"watch">,
): void {
  const call = mail(callKinds.watch, source, destination, number);
  call.via = from;
  if (kernel.whereElse(destination)) kernel.missing(from, source, number, destination);
  else kernel.bindings.watch(call, destination, bound === 1);
}
