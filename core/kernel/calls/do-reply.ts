/** reply: never waits. OK says that the caller's kernel is told, if the caller still waits by then. */
import { type Call, callKinds, states } from "../call.ts";
import { finish } from "../finish.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { type Message, refuseMessage } from "../message.ts";
import type { Outcome } from "../outcome.ts";
import { callBits } from "../privileges.ts";
import type { Proc } from "../proc.ts";

export function doReply(kernel: KernelMachine, replier: Proc, request: Call, message: Message): Outcome {
  if ((replier.calls & callBits.reply) === 0) return "NOT_ALLOWED";
  if (request.receiver !== replier || request.state !== states.open || request.kind !== callKinds.request) {
    return "NOT_WAITING";
  }
  const refusal = refuseMessage(message);
  if (refusal) return refusal;
  if (kernel.exited) return "EXITED";
  if (replier.held) return "BUSY";
  if (request.caller) {
    replier.counters.sentLocal++;
    if (kernel.watchLocal !== null) {
      kernel.watchLocal("reply", replier.endpoint, request.source, message.type);
    }
    replier.open.remove(request);
    if (kernel.frozen) {
      // Taken from it, so that it is not replied to twice; the caller is told when processes may run again.
      request.state = states.sent;
      kernel.backlog.park(() => answerLocal(kernel, request, message));
    } else finish(kernel, request, "OK", message);
    return "OK";
  }
  return kernel.answers.reply(request, message, replier);
}

function answerLocal(kernel: KernelMachine, request: Call, message: Message): void {
  if (request.state !== states.done) kernel.peers.finishAway(request, "OK", message);
}
