/** A message from a process of another kernel, for one of this kernel's. */
import { messageBytesMax } from "../../limits.ts";
import { Call, type CallKind, callKinds } from "../call.ts";
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
  m: KernelMessage<"send"> | KernelMessage<"request">,
): void {
  const [, source, number, destination, group, since, type, body] = m;
  const { view } = kernel;
  if (since > view.index) {
    kernel.backlog.arrivedAhead(from, m);
    return;
  }
  const to = kernel.table.find(destination);
  if (!to || since !== view.placedAt(destination)) {
    kernel.missing(from, source, number, destination);
    return;
  }
  if (((to.from >>> group) & 1) === 0) {
    kernel.answers.failed(from, source, number, "NOT_ALLOWED");
    return;
  }
  const call = new Call(kind, null, source, destination, type, body, group);
  call.number = number;
  call.via = from;
  call.early = view.holderOf(source) !== from;
  call.bytes = bodyBytes(body, messageBytesMax);
  deliver(kernel, call, to);
}
