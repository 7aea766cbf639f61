/** What has become of calls whose answers may have died with a kernel between. */
import type { KernelMachine } from "../kernel-machine.ts";
import { callStates, type KernelMessage, messageTable } from "../messages.ts";
import { audited, stateOfCall } from "../settling.ts";
import type { KernelId } from "../view.ts";

export function handleAudit(kernel: KernelMachine, from: KernelId, m: KernelMessage<"audit">): void {
  const [, audit, index, endpoint, since, calls] = m;
  if (kernel.view.index < index) {
    kernel.backlog.arrivedAhead(from, m);
    return;
  }
  const proc = kernel.table.find(endpoint);
  const states: number[] = [];
  // Where it has gone, this will be asked again; where it has ended, nothing is left of what it had taken.
  if (proc || !kernel.isElsewhere(endpoint)) {
    for (let i = 0; i < calls.length; i += 2) {
      states.push(proc ? stateOfCall(proc, calls[i]!, calls[i + 1]!, since) : callStates.none);
    }
  }
  // Answers that were due come before.
  kernel.answers.flush();
  kernel.transmit(from, [messageTable.audited.number, audit, states]);
}

export function handleAudited(
  kernel: KernelMachine,
  _from: KernelId,
  [, audit, states]: KernelMessage<"audited">,
): void {
  for (const outlet of kernel.peers.outlets.values()) {
    if (outlet.audit !== audit) continue;
    audited(kernel, outlet, states);
    return;
  }
}
