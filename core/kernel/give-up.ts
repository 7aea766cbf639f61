/** Calls that end before their time: cancelled, timed out, or because their process has ended. */
import { type Call, callKinds, states } from "./call.ts";
import { finish } from "./finish.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { Proc } from "./proc.ts";

/** The caller does not wait any longer. What the other side may have taken by now ends as OUTCOME_UNKNOWN. */
export function giveUp(kernel: KernelMachine, call: Call, why: "TIMED_OUT" | "CANCELLED"): void {
  if (call.state === states.done) return;
  if (call.cancelled) {
    // No word came in time from the kernel that has it.
    if (why === "TIMED_OUT") kernel.peers.finishAway(call, "OUTCOME_UNKNOWN");
    return;
  }
  const isAway = call.number !== 0 && call.receiver === null && call.state !== states.queued;
  switch (call.kind) {
    case callKinds.lookup:
      kernel.bindings.unwatchName(call);
      break;
    case callKinds.watch:
      kernel.bindings.unwatch(call);
      if (isAway) kernel.peers.tellCancel(call);
      break;
    case callKinds.copyRead:
    case callKinds.copyWrite: {
      const outcome = kernel.copies.giveUp(call) ? "OUTCOME_UNKNOWN" : why;
      kernel.peers.finishAway(call, outcome);
      return;
    }
    case callKinds.send:
    case callKinds.request:
      if (isAway) {
        kernel.peers.cancel(call, why);
        return;
      }
      if (call.state === states.open) {
        call.queue?.remove(call);
        finish(kernel, call, "OUTCOME_UNKNOWN");
        return;
      }
      break;
  }
  // It is in a queue of this kernel, or parked, and has not been taken.
  kernel.peers.finishAway(call, why);
}

/** The process has ended: nobody waits for its calls. */
export function giveUpCalls(kernel: KernelMachine, proc: Proc): void {
  if (proc.underWay === 0) return;
  const calls = [...proc.away.values()];
  for (const outlet of kernel.peers.outlets.values()) {
    for (const queue of [outlet.queue, outlet.asks]) calls.push(...queue.toArray());
  }
  for (const to of kernel.table.all()) calls.push(...to.mailbox.toArray(), ...to.open.toArray());
  calls.push(...kernel.bindings.watching(), ...kernel.bindings.watchingNames());
  for (const call of calls) {
    if (call.caller !== proc || call.state === states.done) continue;
    giveUp(kernel, call, "CANCELLED");
    // Its process hears no more of it, whatever the other kernel says.
    if (call.cancelled) kernel.peers.finishAway(call, "OUTCOME_UNKNOWN");
  }
}
