import type { KernelMachine } from "../kernel-machine.ts";
import type { KernelMessage } from "../messages.ts";
import { settled } from "../settling.ts";
import type { KernelId } from "../view.ts";

export function handleSettled(
  kernel: KernelMachine,
  from: KernelId,
  [, endpoint]: KernelMessage<"settled">,
): void {
  const outlet = kernel.peers.outlets.get(endpoint);
  if (outlet?.phase === "settling" && outlet.audit === 0 && outlet.kernel === from) settled(kernel, outlet);
}
