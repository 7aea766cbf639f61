/** The other kernel knows better where an endpoint is. */
import { callKinds } from "../call.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import type { KernelMessage } from "../messages.ts";
import type { KernelId } from "../view.ts";

/**
 * Messages to it settle behind a marker, as if the record had been read; what may be asked twice is asked there. A
 * kernel that this one has not read of yet is of no use: its records will come.
 */
export function handleMiss(
  kernel: KernelMachine,
  from: KernelId,
  [, source, number, destination, g, holder]: KernelMessage<"miss">,
): void {
  const outlet = kernel.peers.outlets.get(destination);
  if (!outlet || outlet.kernel !== from) return;
  if (outlet.phase === "resolving") outlet.phase = "unresolved";
  const call = kernel.table.find(source)?.away.get(number);
  if (call && (call.kind === callKinds.copyRead || call.kind === callKinds.copyWrite))
    kernel.copies.giveUp(call);
  if (kernel.view.members.has(holder)) kernel.peers.relocate(destination, holder, g);
}
