/**
 * The other kernel has read more of where an endpoint is: this one acts as if it had read the record, too. Else there
 * is nothing to do: what was sent to the wrong place is sent again when the record that moved the endpoint is read.
 */
import type { KernelMachine } from "../kernel-machine.ts";
import type { KernelMessage } from "../messages.ts";
import type { KernelId } from "../view.ts";

export function handleMiss(
  kernel: KernelMachine,
  _from: KernelId,
  [, , , destination, since, holder]: KernelMessage<"miss">,
): void {
  const { view, peers, id } = kernel;
  // What is to come here is here once the record has been read.
  if (since > view.index && holder !== id && view.members.has(holder))
    peers.relocate(destination, holder, since);
}
