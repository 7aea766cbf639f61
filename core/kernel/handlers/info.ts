import { infoOf } from "../calls/do-get-info.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { type KernelMessage, messageTable } from "../messages.ts";
import type { KernelId } from "../view.ts";

export function handleInfo(kernel: KernelMachine, from: KernelId, m: KernelMessage<"info">): void {
  const [, source, number, destination, index] = m;
  if (kernel.view.index < index) {
    kernel.backlog.arrivedAhead(from, m);
    return;
  }
  const proc = kernel.table.find(destination);
  if (proc) kernel.transmit(from, [messageTable.answer.number, source, number, infoOf(kernel, proc)]);
  else kernel.missing(from, source, number, destination);
}
