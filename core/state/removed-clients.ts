/**
 * A kernel that was removed writes no more: what its container has on the way is refused from then on. The primary
 * writes the removal of the client behind the record that removed the kernel.
 */
import { viewsOf } from "./modules/views.ts";
import type { ReplicaHost } from "./replica-host.ts";

export class RemovedClients {
  readonly #host: ReplicaHost;
  /** Proposed by this primary. */
  readonly #proposed = new Set<string>();
  /** The record of the View up to which everybody who has gone was looked at. */
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
    const views = viewsOf(this.#host.module("views"));
    if (views.index === this.#seen) return;
    this.#seen = views.index;
    for (const incarnation of views.gone()) {
      if (this.#isKnown(incarnation)) continue;
      this.#proposed.add(incarnation);
      this.#host.removeClient(incarnation, (outcome) => {
        if (outcome.type === "ok") return;
        this.#proposed.delete(incarnation);
        this.#seen = -1;
      });
    }
  }

  #isKnown(incarnation: string): boolean {
    return this.#proposed.has(incarnation) || this.#host.machine.sessions.hasRemoved(incarnation);
  }
}
