/**
 * Records that this kernel wants in the log. Answers of the log are lost and calls to it fail, so each is proposed
 * again until the View shows what has become of it; every record is made so that a second copy of it changes nothing
 * or does no harm.
 */
import { proposeRetryMs } from "../limits.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { KernelRecord } from "./view.ts";

/** What the log has answered: the record's index; not ordered; nobody knows. */
export type ProposalAnswer = { index: number } | "unavailable" | "unknown";

export interface Proposal {
  ticket: number;
  record: KernelRecord;
  /** Whether the View says how it ended, whichever copy of it that was. */
  isSettled: () => boolean;
  /** Once, after it has ended one way or the other: the View tells which. */
  settled: () => void;
  /** 0: not ordered as far as anybody knows. */
  index: number;
  /** Nothing that a process could notice follows from it: also while the kernel is frozen. */
  evenFrozen: boolean;
  /** When it is proposed again; null while the log has not answered. */
  againMs: number | null;
}

export class Proposals {
  readonly #kernel: KernelMachine;
  readonly #pending = new Map<number, Proposal>();
  #tickets = 0;

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  get pending(): number {
    return this.#pending.size;
  }

  propose(
    record: KernelRecord,
    isSettled: () => boolean,
    settled: () => void = () => {},
    evenFrozen = false,
  ): void {
    const ticket = ++this.#tickets;
    this.#pending.set(ticket, { ticket, record, isSettled, settled, index: 0, evenFrozen, againMs: null });
    this.#kernel.sink.propose(ticket, record);
  }

  answered(ticket: number, answer: ProposalAnswer): void {
    const proposal = this.#pending.get(ticket);
    if (!proposal) return;
    if (typeof answer === "object") {
      proposal.index = answer.index;
      this.review();
    } else {
      proposal.againMs = this.#kernel.nowMs + proposeRetryMs;
      this.#kernel.sink.wantTick?.();
    }
  }

  /** A record has been applied: some may have ended. */
  review(): void {
    if (this.#pending.size === 0) return;
    for (const proposal of [...this.#pending.values()]) {
      if (this.#kernel.frozen && !proposal.evenFrozen) continue;
      const isRead = proposal.index > 0 && this.#kernel.view.index >= proposal.index;
      if (!isRead && !proposal.isSettled()) continue;
      if (this.#pending.delete(proposal.ticket)) proposal.settled();
    }
  }

  tick(nowMs: number): void {
    for (const proposal of this.#pending.values()) {
      if (proposal.againMs === null || proposal.againMs > nowMs) continue;
      proposal.againMs = null;
      this.#kernel.sink.propose(proposal.ticket, proposal.record);
    }
  }

  /** When the next one is proposed again; Infinity: none. */
  get dueMs(): number {
    let dueMs = Infinity;
    for (const { againMs } of this.#pending.values()) if (againMs !== null) dueMs = Math.min(dueMs, againMs);
    return dueMs;
  }

  /** This kernel has exited: nothing of it is proposed any more. */
  clear(): void {
    this.#pending.clear();
  }
}
