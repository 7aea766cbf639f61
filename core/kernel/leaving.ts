/**
 * How a kernel leaves without a trace: its processes have moved away or ended, and what others sent it before they
 * read of that has been handed on. Two rounds of `flush`: after the first, all that others sent has arrived here;
 * after the second, all that was handed on has arrived there. Then it removes itself by record.
 */
import type { KernelMachine } from "./kernel-machine.ts";
import { type KernelMessage, messageTable } from "./messages.ts";
import type { KernelId } from "./view.ts";

export class Leaving {
  readonly #kernel: KernelMachine;
  #waiting: Set<KernelId> | null = null;
  #round = 0;
  #index = 0;

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  get begun(): boolean {
    return this.#round > 0;
  }

  /** Ends with sink.exit(). */
  leave(): void {
    if (this.#round !== 0) return;
    this.#round = 1;
    this.#begin();
  }

  handleFlush(from: KernelId, m: KernelMessage<"flush">): void {
    const kernel = this.#kernel;
    if (kernel.view.index < m[1]) kernel.backlog.arrivedAhead(from, m);
    else {
      kernel.answers.flush();
      kernel.transmit(from, [messageTable.flushed.number, m[1]]);
    }
  }

  handleFlushed(from: KernelId, [, index]: KernelMessage<"flushed">): void {
    if (index === this.#index && this.#waiting?.delete(from)) this.review();
  }

  /** A member less to wait for, perhaps. */
  review(): void {
    const { view } = this.#kernel;
    if (!this.#waiting) return;
    for (const kernel of this.#waiting) if (!view.members.has(kernel)) this.#waiting.delete(kernel);
    if (this.#waiting.size > 0) return;
    this.#waiting = null;
    if (this.#round++ < 2) this.#begin();
    else {
      const { id, proposals, membership } = this.#kernel;
      // From here on it takes nothing that its senders could be told to have died with it.
      membership.retire();
      const left = () => !view.members.has(id);
      proposals.propose({ type: "remove", kernel: id, reason: "left" }, left, () => {}, true);
    }
  }

  #begin(): void {
    const kernel = this.#kernel;
    this.#index = kernel.view.index;
    this.#waiting = new Set([...kernel.view.members.keys()].filter((member) => member !== kernel.id));
    for (const member of this.#waiting) {
      kernel.transmit(member, [messageTable.flush.number, this.#index]);
    }
    this.review();
  }
}
