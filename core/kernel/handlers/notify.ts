import type { KernelMachine } from "../kernel-machine.ts";
import { type KernelMessage, messageTable } from "../messages.ts";
import { acceptNotice } from "../notices.ts";
import type { KernelId } from "../view.ts";

/** Its sender sends it again until it has been told that it has arrived. */
export function handleNotify(kernel: KernelMachine, from: KernelId, m: KernelMessage<"notify">): void {
  const [, source, number, destination, group, since, count] = m;
  if (kernel.view.index < since) {
    kernel.backlog.arrivedAhead(from, m);
    return;
  }
  const to = kernel.table.find(destination);
  if (to?.held) {
    kernel.moves.outgoing.get(destination)?.park(from, m);
    return;
  }
  if (to ? since !== kernel.view.placedAt(destination) : kernel.isElsewhere(destination)) {
    kernel.missing(from, source, number, destination);
    return;
  }
  if (to) acceptNotice(kernel, to, source, number, group, count);
  kernel.transmit(from, [messageTable.notified.number, source, destination, number]);
}
