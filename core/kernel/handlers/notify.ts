import { notifyProc } from "../calls/do-notify.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { type KernelMessage, messageTable } from "../messages.ts";
import type { KernelId } from "../view.ts";

/** Follows the process where it has gone: nobody keeps a notification to send it again. */
export function handleNotify(kernel: KernelMachine, from: KernelId, m: KernelMessage<"notify">): void {
  const [, source, destination, group, count] = m;
  const to = kernel.table.find(destination);
  if (to) {
    if (((to.from >>> group) & 1) === 1) notifyProc(kernel, to, source, count);
    return;
  }
  const coming = kernel.moves.incoming.get(destination);
  if (coming) {
    coming.notifications.set(source, (coming.notifications.get(source) ?? 0) + count);
    return;
  }
  const holder = kernel.view.holderOf(destination);
  if (holder === 0 || holder === kernel.id || holder === from) return;
  kernel.transmit(holder, [messageTable.notify.number, source, destination, group, count]);
}
