import type { KernelMachine } from "../kernel-machine.ts";
import type { KernelMessage } from "../messages.ts";
import { conclude } from "../settling.ts";
import type { KernelId } from "../view.ts";

export function handleSettled(
  kernel: KernelMachine,
  _from: KernelId,
  [, endpoint, ticket]: KernelMessage<"settled">,
): void {
  const outlet = kernel.peers.outlets.get(endpoint);
  if (outlet?.phase === "settling" && outlet.marker === ticket) conclude(kernel, outlet);
}
