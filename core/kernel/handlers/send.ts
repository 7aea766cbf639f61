/** A message from a process of another kernel, for one of this kernel's. */
import { messageBytesMax } from "../../limits.ts";
import { Call, type CallKind, callKinds, callName } from "../call.ts";
import { deliver } from "../deliver.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { bodyBytes } from "../message.ts";
import type { KernelMessage } from "../messages.ts";
import type { KernelId } from "../view.ts";

export function handleSend(kernel: KernelMachine, from: KernelId, m: KernelMessage<"send">): void {
  arrive(kernel, from, callKinds.send, m);
}

export function handleRequest(kernel: KernelMachine, from: KernelId, m: KernelMessage<"request">): void {
  arrive(kernel, from, callKinds.request, m);
}

function arrive(
  kernel: KernelMachine,
  from: KernelId,
  kind: CallKind,
  [, source, number, destination, group, type, body]: KernelMessage<"send"> | KernelMessage<"request">,
): void {
  const to = kernel.table.find(destination);
  const coming = to ? undefined : kernel.moves.incoming.get(destination);
  if (!to && !coming) {
    kernel.missing(from, source, number, destination);
    return;
  }
  const accepted = to ? to.from : coming!.state.privileges.from;
  if (((accepted >>> group) & 1) === 0) {
    kernel.peers.failed(from, source, number, "NOT_ALLOWED");
    return;
  }
  const call = new Call(kind, null, source, destination, type, body, group);
  call.number = number;
  call.via = from;
  if (to) {
    if (to.untaken.size > 0) to.untaken.delete(callName(source, number));
    call.bytes = bodyBytes(body, messageBytesMax);
    deliver(kernel, call, to);
  } else coming!.mailbox.push(call);
}
