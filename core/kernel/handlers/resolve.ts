/** Is the endpoint bound, and in which group? Asked once by each kernel, before its first message to it. */
import { states } from "../call.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { type KernelMessage, messageTable } from "../messages.ts";
import type { KernelId } from "../view.ts";

export function handleResolve(kernel: KernelMachine, from: KernelId, m: KernelMessage<"resolve">): void {
  const [, destination, index] = m;
  if (kernel.view.index < index) {
    kernel.backlog.arrivedAhead(from, m);
    return;
  }
  const to = kernel.table.find(destination);
  const { number } = messageTable.resolved;
  if (to) kernel.transmit(from, [number, destination, "OK", to.group]);
  else if (kernel.isElsewhere(destination)) kernel.missing(from, destination, 0, destination);
  else kernel.transmit(from, [number, destination, kernel.peers.absence(destination), 0]);
}

export function handleResolved(
  kernel: KernelMachine,
  from: KernelId,
  [, destination, outcome, group]: KernelMessage<"resolved">,
): void {
  const { peers } = kernel;
  const outlet = peers.outlets.get(destination);
  if (!outlet || outlet.kernel !== from || outlet.phase !== "resolving") return;
  if (outcome === "OK") {
    outlet.phase = "open";
    outlet.group = group;
    for (const call of outlet.asks.toArray()) if (call.state === states.queued) peers.askAgain(outlet, call);
    peers.pump(outlet);
    return;
  }
  outlet.phase = "unresolved";
  outlet.notices.clear();
  for (const queue of [outlet.queue, outlet.asks]) {
    for (const call of queue.toArray()) {
      // Waits in the other kernel, which needs no group.
      if (queue === outlet.asks && call.state !== states.queued) continue;
      peers.finishAway(call, outcome);
    }
  }
  if (outlet.isIdle) peers.outlets.delete(destination);
}
