/** What the removal of another kernel means here: the one event that ends calls to its processes, with DIED. */
import type { Call } from "./call.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { conclude, startAudit } from "./settling.ts";
import type { Relocation, ViewChange } from "./view-change.ts";
import type { KernelId } from "./view.ts";

/** Messages, watches and copies here of processes that this kernel holds: to be asked before the record is applied. */
export function messagesOf(kernel: KernelMachine, peer: KernelId): Call[] {
  const queues = [...kernel.table.all()].flatMap((proc) => [proc.mailbox, proc.open]);
  for (const move of kernel.moves.incoming.values()) queues.push(move.mailbox);
  const calls = [...queues.flatMap((queue) => queue.toArray()), ...kernel.bindings.watching()];
  return calls.filter((call) => !call.caller && kernel.view.holderOf(call.source) === peer);
}

export function handleRemoved(
  kernel: KernelMachine,
  { kernel: peer, aborted, promoted }: Extract<ViewChange, { type: "removed" }>,
  lost: readonly Call[],
): void {
  kernel.peers.removed(peer, lost);
  kernel.copies.kernelRemoved(peer);
  for (const move of aborted) kernel.moves.handleAborted(move);
  for (const relocation of promoted) kernel.moves.handlePromoted(relocation);
  endOutlets(kernel, peer, promoted);
  kernel.moves.auditBrought(peer);
}

function endOutlets(kernel: KernelMachine, peer: KernelId, promoted: readonly Relocation[]): void {
  const { peers } = kernel;
  for (const outlet of [...peers.outlets.values()]) {
    const { target } = outlet;
    if ((target ?? outlet).kernel !== peer) {
      // It had gone on before: who has it now knows what its old kernel can no longer tell.
      if (target && outlet.kernel === peer && outlet.audit === 0) startAudit(kernel, outlet);
      continue;
    }
    outlet.phase = "settling";
    outlet.audit = 0;
    for (const call of [...outlet.sent.toArray(), ...outlet.open.toArray()]) peers.finishAway(call, "DIED");
    const backup = promoted.find(({ endpoint }) => endpoint === outlet.endpoint);
    if (backup) {
      outlet.group = -1;
      outlet.target = { kernel: backup.to, g: backup.g };
      conclude(kernel, outlet, new Set());
      continue;
    }
    for (const call of [...outlet.queue.toArray(), ...outlet.asks.toArray()]) peers.finishAway(call, "DIED");
    peers.outlets.delete(outlet.endpoint);
  }
}
