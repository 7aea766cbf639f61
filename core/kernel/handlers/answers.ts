/** Answers to calls of this kernel's processes; of those that have moved, they are handed on. */
import type { Call } from "../call.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import type { KernelMessage } from "../messages.ts";
import type { KernelId } from "../view.ts";

type Answer = "taken" | "reply" | "failed" | "answer";

export function handleTaken(kernel: KernelMachine, from: KernelId, m: KernelMessage<"taken">): void {
  const call = callOf(kernel, from, m);
  if (call) kernel.peers.taken(call);
}

export function handleReply(kernel: KernelMachine, from: KernelId, m: KernelMessage<"reply">): void {
  const call = callOf(kernel, from, m);
  if (!call) return;
  const [, , , type, body] = m;
  if (call.caller) call.caller.counters.receivedRemote++;
  kernel.peers.finishAway(call, "OK", { type, body });
}

export function handleFailed(kernel: KernelMachine, from: KernelId, m: KernelMessage<"failed">): void {
  const [, source, number, outcome] = m;
  if (kernel.copies.handleFailed(from, source, number, outcome)) return;
  const call = callOf(kernel, from, m);
  if (!call) return;
  kernel.peers.finishAway(call, outcome === "CANCELLED" && call.cancelled ? call.cancelled : outcome);
}

export function handleAnswer(kernel: KernelMachine, from: KernelId, m: KernelMessage<"answer">): void {
  const call = callOf(kernel, from, m);
  if (call) kernel.peers.finishAway(call, "OK", { type: 0, body: m[3] });
}

/** The call that the answer is for, if it is here. */
function callOf(kernel: KernelMachine, from: KernelId, m: KernelMessage<Answer>): Call | undefined {
  const [, source, number] = m;
  const proc = kernel.table.find(source);
  if (proc) {
    const call = proc.away.get(number);
    // Its process may have made it where it is by now.
    if (!call && proc.held) kernel.backlog.arrivedAhead(from, m);
    return call;
  }
  if (kernel.moves.incoming.has(source)) kernel.backlog.arrivedAhead(from, m);
  else if (kernel.isElsewhere(source)) kernel.transmit(kernel.view.holderOf(source), m);
  return undefined;
}
