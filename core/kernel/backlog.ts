/**
 * What a kernel cannot act on yet. While it is frozen: records that it has read, messages of peers, and what processes
 * ask for; they follow in that order when it thaws. At any time: messages of kernels whose joining it has not read, and
 * those that speak of a record which it has not read.
 */
import type { Call } from "./call.ts";
import { followRecord } from "./follow-record.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { KernelMessage } from "./messages.ts";
import type { ViewChange } from "./view-change.ts";
import type { KernelId } from "./view.ts";

/** A record that has been read, and the messages that are lost by it. */
interface Reading {
  index: number;
  change: ViewChange;
  lost: readonly Call[];
}

interface Arrival {
  from: KernelId;
  message: KernelMessage;
}

export class Backlog {
  readonly #kernel: KernelMachine;
  /** Index of the last record of which this kernel has drawn the consequences. */
  caughtUpTo = 0;
  #readings: Reading[] = [];
  /** Of peers, while frozen. Bounded by their windows. */
  #inbox: Arrival[] = [];
  /** Asked for while frozen. Bounded by the calls of the processes. */
  #parked: (() => void)[] = [];
  /** Ahead of this kernel's View: handled after the next record. Bounded by the windows of peers. */
  #ahead: Arrival[] = [];
  /** Of kernels whose joining this one has not read yet. */
  readonly #early = new Map<KernelId, KernelMessage[]>();

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  /** Followed by `catchUp`, unless the kernel is frozen. */
  read(reading: Reading): void {
    this.#readings.push(reading);
  }

  arrivedFrozen(from: KernelId, message: KernelMessage): void {
    this.#inbox.push({ from, message });
  }
  arrivedEarly(from: KernelId, message: KernelMessage): void {
    const early = this.#early.get(from) ?? [];
    early.push(message);
    this.#early.set(from, early);
  }
  /** The message speaks of a record that this kernel has not read. */
  arrivedAhead(from: KernelId, message: KernelMessage): void {
    this.#ahead.push({ from, message });
  }
  park(act: () => void): void {
    this.#parked.push(act);
  }

  /** That it has joined was read: what it has sent, or, where it is gone, nothing any more. */
  takeEarly(from: KernelId): readonly KernelMessage[] {
    const early = this.#early.get(from) ?? [];
    this.#early.delete(from);
    return early;
  }

  /** What follows from the records that have been read. */
  catchUp(): void {
    const kernel = this.#kernel;
    const readings = this.#readings;
    this.#readings = [];
    for (const { index, change, lost } of readings) {
      this.caughtUpTo = index;
      followRecord(kernel, change, lost);
    }
    const ahead = this.#ahead;
    this.#ahead = [];
    for (const { from, message } of ahead) if (kernel.view.members.has(from)) kernel.handle(from, message);
    kernel.proposals.review();
    kernel.leaving.review();
  }

  /** All of it, in order. It may freeze again by one of them, for good, when it was about to leave: the rest waits. */
  thaw(): void {
    const kernel = this.#kernel;
    this.catchUp();
    const inbox = this.#inbox;
    const parked = this.#parked;
    this.#inbox = [];
    this.#parked = [];
    let handled = 0;
    let acted = 0;
    for (; handled < inbox.length && !kernel.frozen; handled++) {
      const { from, message } = inbox[handled]!;
      if (kernel.view.members.has(from)) kernel.handle(from, message);
    }
    for (; acted < parked.length && !kernel.frozen; acted++) parked[acted]!();
    if (!kernel.frozen) return;
    this.#inbox.unshift(...inbox.slice(handled));
    this.#parked.unshift(...parked.slice(acted));
  }
}
