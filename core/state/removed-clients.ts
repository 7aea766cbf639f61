/**
 * A kernel that was removed writes no more: what its container has on the way is refused from then on. The primary
 * writes the removal of the client behind the record that removed the kernel.
 */
import { goneOf } from "./modules/views.ts";
import type { ReplicaHost } from "./replica-host.ts";

export class RemovedClients {
  readonly #host: ReplicaHost;
  /** Proposed by this primary. */
  readonly #proposed = new Set<string>();
  /** How many had gone when it looked last. */
  #seen = -1;

  constructor(host: ReplicaHost) {
    this.#host = host;
  }

  /** Another primary, or this one again: what it proposed may have come to nothing. */
  reset(): void {
    this.#proposed.clear();
    this.#seen = -1;
  }

  /** As the primary, after records were applied. */
  review(): void {
    const gone = goneOf(this.#host.module("views"));
    const last = gone.at(-1);
    if (gone.length === this.#seen && (last === undefined || this.#isKnown(last))) return;
    this.#seen = gone.length;
    for (const incarnation of gone) {
      if (this.#isKnown(incarnation)) continue;
      this.#proposed.add(incarnation);
      this.#host.removeClient(incarnation, (outcome) => {
        if (outcome.type !== "ok") this.#proposed.delete(incarnation);
      });
    }
  }

  #isKnown(incarnation: string): boolean {
    return this.#proposed.has(incarnation) || this.#host.machine.sessions.hasRemoved(incarnation);
  }
}
