/** What must hold after each step of a simulated instance, whatever has failed. The ledger judges what is told. */
import { assert } from "./ledger.ts";
import type { ReplicaWorld } from "./replica-world.ts";
import type { SimNode } from "./sim-node.ts";

export function checkReplicas({ nodes, ledger }: ReplicaWorld): void {
  let serving: SimNode | null = null;
  for (const node of nodes) {
    const { process, host } = node;
    // A stopped one looks at the clock before it does anything.
    if (!process || host.paused || !process.serves) continue;
    assert(
      process.epoch >= ledger.epochMin,
      `${host.id} serves in epoch ${process.epoch}, which was given up`,
    );
    if (!process.isServingPrimary) continue;
    assert(
      serving === null,
      `${host.id} and ${serving?.host.id} both serve as primary, of ${process.epoch} and ${serving?.process?.epoch}`,
    );
    serving = node;
    ledger.serves(process.epoch, process.lastIndex, host.id);
  }
}
