/** Is the endpoint bound, and in which group? Asked once by each kernel, before its first message to it. */
import type { KernelMachine } from "../kernel-machine.ts";
import { type KernelMessage, messageTable } from "../messages.ts";
import type { KernelId } from "../view.ts";

export function handleResolve(
  kernel: KernelMachine,
  from: KernelId,
  [, destination]: KernelMessage<"resolve">,
): void {
  const privileges =
    kernel.table.find(destination)?.privileges ?? kernel.moves.incoming.get(destination)?.state.privileges;
  const { number } = messageTable.resolved;
  if (privileges) kernel.transmit(from, [number, destination, "OK", privileges.group]);
  else {
    const place = kernel.whereElse(destination);
    if (place) {
      const { number } = messageTable.miss;
      kernel.transmit(from, [number, destination, 0, destination, place.g, place.kernel]);
    } else kernel.transmit(from, [number, destination, kernel.peers.absence(destination), 0]);
  }
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
    for (const call of outlet.asks.toArray()) if (call.number === 0) peers.askAgain(outlet, call);
    peers.pump(outlet);
    return;
  }
  outlet.phase = "unresolved";
  outlet.notifications.clear();
  for (const queue of [outlet.queue, outlet.asks]) {
    for (const call of queue.toArray()) {
      // Waits in the other kernel, which needs no group.
      if (queue === outlet.asks && call.number !== 0) continue;
      peers.finishAway(call, outcome);
    }
  }
  if (outlet.isIdle) peers.outlets.delete(destination);
}
