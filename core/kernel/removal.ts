/** What the removal of another kernel means here: the one event that ends calls to its processes, with DIED. */
import { type Call, isCopy, states } from "./call.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { conclude, doubt, markerLost } from "./settling.ts";
import type { Relocation, ViewChange } from "./view-change.ts";
import type { KernelId } from "./view.ts";

/**
 * Messages and watches here of processes that this kernel holds: to be asked before the record is applied. What has
 * come by another kernel may be of a process that has gone on there by a record that this one has not read yet.
 */
export function messagesOf(kernel: KernelMachine, peer: KernelId): Call[] {
  const queues = [...kernel.table.all()].flatMap((proc) => [proc.mailbox, proc.open]);
  const calls = [...queues.flatMap((queue) => queue.toArray()), ...kernel.bindings.watching()];
  const { view } = kernel;
  return calls.filter(({ caller, source, via }) => {
    return !caller && view.holderOf(source) === peer && (via === peer || !view.members.has(via));
  });
}

export function handleRemoved(
  kernel: KernelMachine,
  { kernel: peer, aborted, promoted }: Extract<ViewChange, { type: "removed" }>,
  lost: readonly Call[],
): void {
  kernel.peers.removed(peer);
  for (const call of lost) {
    call.queue?.remove(call);
    kernel.bindings.unwatch(call);
    call.state = states.done;
    call.untold = false;
  }
  kernel.copies.streams.kernelRemoved(peer);
  for (const move of aborted) kernel.moves.handleAborted(move);
  for (const relocation of promoted) kernel.moves.handlePromoted(relocation);
  reviewOutlets(kernel, peer, promoted);
}

function reviewOutlets(kernel: KernelMachine, peer: KernelId, promoted: readonly Relocation[]): void {
  // All of them before any is dealt with: what is settled by that may let a process be offered.
  for (const outlet of kernel.peers.outlets.values()) {
    if (outlet.displaced && outlet.open.length > 0) outlet.doubtful = true;
  }
  for (const outlet of [...kernel.peers.outlets.values()]) {
    if (outlet.stay.kernel === peer) {
      // What its process had taken has died with it; what it had not, too, unless a backup may take it.
      for (const call of [...outlet.sent.toArray(), ...outlet.open.toArray()]) {
        kernel.peers.finishAway(call, "DIED");
      }
      const backup = promoted.find(({ endpoint }) => endpoint === outlet.endpoint);
      if (backup) {
        for (const call of outlet.asks.toArray()) if (isCopy(call)) kernel.peers.finishAway(call, "DIED");
        outlet.group = -1;
        outlet.target = { kernel: backup.to, since: backup.since };
        conclude(kernel, outlet);
      } else kernel.peers.endOutlet(outlet);
    } else if (outlet.marker !== 0 && outlet.kernel === peer) markerLost(kernel, outlet);
    else if (outlet.displaced && outlet.open.length > 0) doubt(kernel, outlet);
  }
}
