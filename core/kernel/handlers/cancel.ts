/** A caller of another kernel gives up. The answer tells whether its message had been taken. */
import { type Call, states } from "../call.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { type KernelMessage, messageTable } from "../messages.ts";
import type { KernelId } from "../view.ts";

export function handleCancel(
  kernel: KernelMachine,
  from: KernelId,
  [, source, number, destination]: KernelMessage<"cancel">,
): void {
  const isIt = (call: Call) => call.source === source && call.number === number && !call.caller;
  const watcher = kernel.bindings.watching().find(isIt);
  if (watcher) {
    kernel.bindings.unwatch(watcher);
    return;
  }
  const proc = kernel.table.find(destination);
  const waiting = proc?.mailbox.toArray().find(isIt);
  if (waiting) {
    proc!.mailbox.remove(waiting);
    waiting.state = states.done;
    kernel.answers.failed(from, source, number, "CANCELLED");
    return;
  }
  const open = proc?.open.toArray().find(isIt);
  if (!open) return;
  // Whoever holds the request finds out when it replies.
  proc!.open.remove(open);
  open.state = states.done;
  open.untold = false;
  kernel.transmit(from, [messageTable.taken.number, source, number]);
}
