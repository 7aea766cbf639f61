/** A message meets a receive. Whoever comes second finds the other waiting. */
import { type Call, callKinds, states } from "./call.ts";
import { ANY } from "./endpoint.ts";
import { finish } from "./finish.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { Proc } from "./proc.ts";

/** To the receive that has waited longest of those that take it, else into the mailbox. */
export function deliver(kernel: KernelMachine, call: Call, to: Proc): void {
  call.receiver = to;
  if (!to.held) {
    for (let receive = to.receivers.head; receive; receive = receive.next) {
      if (!accepts(receive, call)) continue;
      to.receivers.remove(receive);
      take(kernel, call, to);
      finish(kernel, receive, "OK", call);
      return;
    }
  }
  call.state = states.waiting;
  to.mailbox.push(call);
}

export function accepts(receive: Call, call: Call): boolean {
  return (
    (receive.destination === ANY || receive.destination === call.source) &&
    (!receive.requestsOnly || call.kind === callKinds.request)
  );
}

/** The receiver's process has the message, which is in no mailbox any more. */
export function take(kernel: KernelMachine, call: Call, to: Proc): void {
  const isRequest = call.kind === callKinds.request;
  if (call.caller) {
    to.counters.receivedLocal++;
    if (!isRequest) {
      finish(kernel, call, "OK");
      return;
    }
  } else {
    to.counters.receivedRemote++;
    to.counters.bytesReceived += call.bytes;
    kernel.answers.tellTaken(call);
    if (!isRequest) {
      call.state = states.done;
      return;
    }
  }
  call.state = states.open;
  to.open.push(call);
}
