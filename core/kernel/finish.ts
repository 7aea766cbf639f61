/** The one way in which a call gets its outcome. */
import { type Call, callKinds, states } from "./call.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { Message } from "./message.ts";
import type { Outcome } from "./outcome.ts";

/** Ends a call of a process of this kernel. It must be in no queue any more. */
export function finish(
  kernel: KernelMachine,
  call: Call,
  outcome: Outcome,
  result: Message | null = null,
): void {
  call.state = states.done;
  call.outcome = outcome;
  call.result = result;
  if (call.timerSlot >= 0) kernel.timers.disarm(call);
  const { caller } = call;
  if (caller && call.kind !== callKinds.receive) {
    caller.underWay--;
    if (call.number !== 0) caller.away.delete(call.number);
    if (caller.blockedOn === call) caller.blockedOn = null;
  }
  if (call.waiter) kernel.sink.complete(call);
}
