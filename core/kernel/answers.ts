/**
 * What this kernel tells other kernels of their calls to its processes.
 *
 * That a message was taken goes back to the kernel from which it came, on the way on which its marker's answer will
 * follow (settling.ts). Once that has been told of a request, the reply may go wherever its caller is by the View, and
 * is handed on by a kernel that the caller has left meanwhile. A View that had not read, when the request came, that its
 * caller is where it came from may have the caller where it was before, which nobody watches any more: then the reply
 * goes back on the request's way while there is one.
 */
import { messageBytesMax } from "../limits.ts";
import { type Call, callKinds, states } from "./call.ts";
import type { Endpoint } from "./endpoint.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { bodyBytes, type Message, notPlain } from "./message.ts";
import { messageTable } from "./messages.ts";
import type { Outcome } from "./outcome.ts";
import type { Proc } from "./proc.ts";
import type { KernelId } from "./view.ts";

export class Answers {
  readonly #kernel: KernelMachine;
  /** Requests that processes have taken and whose kernels have not been told: replies mostly come first. */
  #untold: Call[] = [];

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  /** A taken message's kernel is told: of a send now, of a request when no reply comes in this turn. */
  tellTaken(call: Call): void {
    if (call.kind === callKinds.send) this.#tell(call);
    else {
      call.untold = true;
      if (this.#untold.push(call) === 1) this.#kernel.sink.wantFlush();
    }
  }

  /** Also of those whose reply waits for the kernel to thaw. */
  flush(): void {
    if (this.#kernel.frozen || this.#untold.length === 0) return;
    const untold = this.#untold;
    this.#untold = [];
    for (const call of untold) if (call.untold) this.#tell(call);
  }

  #tell(call: Call): void {
    const to = this.#answerTo(call);
    call.untold = false;
    this.#kernel.transmit(to, [messageTable.taken.number, call.source, call.number]);
  }

  /** The reply to a request from another kernel. */
  reply(request: Call, message: Message, replier: Proc): Outcome {
    const bytes = bodyBytes(message.body, messageBytesMax);
    if (bytes === notPlain) return "BAD_MESSAGE";
    if (bytes > messageBytesMax) return "TOO_LARGE";
    replier.open.remove(request);
    request.state = states.done;
    replier.counters.sentRemote++;
    replier.counters.bytesSent += bytes;
    const kernel = this.#kernel;
    if (kernel.frozen) kernel.backlog.park(() => this.#reply(request, message));
    else this.#reply(request, message);
    return "OK";
  }

  #reply(request: Call, { type, body }: Message): void {
    const { source, number } = request;
    const to = this.#answerTo(request);
    request.untold = false;
    this.#kernel.transmit(to, [messageTable.reply.number, source, number, type, body]);
  }

  /** A message, watch or copy of another kernel that is in no queue and was not carried out. */
  fail(call: Call, outcome: Outcome): void {
    const to = this.#answerTo(call);
    call.state = states.done;
    call.untold = false;
    this.failed(to, call.source, call.number, outcome);
  }

  failed(to: KernelId, source: Endpoint, number: number, outcome: Outcome): void {
    this.#kernel.transmit(to, [messageTable.failed.number, source, number, outcome]);
  }

  /** To a watch. */
  answer(call: Call, body: unknown): void {
    const to = this.#answerTo(call);
    call.state = states.done;
    this.#kernel.transmit(to, [messageTable.answer.number, call.source, call.number, body]);
  }

  #answerTo({ kind, state, untold, early, via, source }: Call): KernelId {
    const { view } = this.#kernel;
    const isKnownTaken = kind === callKinds.request && state >= states.open && !untold;
    const mayFollow = isKnownTaken && !early;
    return !mayFollow && view.members.has(via) ? via : view.holderOf(source);
  }
}
