/** What must hold after each step of a simulated instance, whatever has failed. */
import { formatEndpoint } from "../../../core/kernel/endpoint.ts";
import { kernelTickMs, processCallsMax, windowMessages } from "../../../core/limits.ts";
import type { KernelWorld } from "./kernel-world.ts";
import { assert } from "./ledger.ts";
import type { SimKernel } from "./sim-kernel.ts";

export function checkInvariants(world: KernelWorld): void {
  world.ledger.check();
}

/** Never two holders of an endpoint. To be asked whenever a process may have begun to act. */
export function checkHolders(world: KernelWorld): void {
  const holders = new Map<number, SimKernel>();
  for (const kernel of world.kernels) {
    const { machine, host } = kernel;
    if (!mayAct(kernel)) continue;
    for (const proc of machine.table.all()) {
      if (proc.held) continue;
      const other = holders.get(proc.endpoint);
      assert(!other, () => `${formatEndpoint(proc.endpoint)} is on ${host.id} and on ${other?.host.id}`);
      holders.set(proc.endpoint, kernel);
    }
  }
}

/** One that was paused looks at the clock before it does anything, also in the step in which it goes on. */
function mayAct({ machine, host }: SimKernel): boolean {
  if (!host.running || host.paused || machine.exited || machine.frozen) return false;
  return host.nowMs() - machine.nowMs <= 2 * kernelTickMs;
}

/** A kernel that may act is in the view: nobody was removed before its lease had run out. */
export function checkLeases(world: KernelWorld): void {
  for (const kernel of world.kernels) {
    const { machine, host } = kernel;
    if (!mayAct(kernel)) continue;
    const isMember = world.log.truth.members.has(machine.id);
    assert(isMember, () => `${host.id} (${machine.id}) was removed and may act`);
  }
}

/** No queue beyond its bound. Dearer to look at, so not after each step. */
export function checkBounds(world: KernelWorld): void {
  for (const { machine, host } of world.running()) {
    for (const proc of machine.table.all()) {
      const byKernel = new Map<number, number>();
      for (let call = proc.mailbox.head; call; call = call.next) {
        if (!call.caller) byKernel.set(call.via, (byKernel.get(call.via) ?? 0) + 1);
      }
      for (const [via, count] of byKernel) {
        // Messages of processes that have moved away from a kernel are still counted as its own.
        const most = 2 * windowMessages;
        assert(count <= most, () => `${host.id} holds ${count} messages of ${via} for one process`);
      }
      assert(proc.underWay <= processCallsMax, () => `${proc.underWay} calls of one process`);
      assert(proc.underWay >= 0, () => `${proc.underWay} calls of one process`);
    }
    for (const outlet of machine.peers.outlets.values()) {
      assert(outlet.sentBytes >= 0, () => `${outlet.sentBytes} bytes under way`);
    }
  }
}

/** The names of the truth are of endpoints that somebody holds: with each record. */
export function checkNames(world: KernelWorld): void {
  const { truth } = world.log;
  for (const [name, endpoint] of truth.names) {
    assert(
      truth.holderOf(endpoint) !== 0,
      () => `${name} is the name of ${formatEndpoint(endpoint)}, which is dead`,
    );
  }
}
