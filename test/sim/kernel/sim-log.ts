/**
 * The order of an instance's records: one array, far away. Proposals come late or not at all, their answers are lost,
 * and readers lag behind; what is in it never changes. The View of all of it is the truth by which kernels are judged.
 */
import type { ProposalAnswer } from "../../../core/kernel/proposals.ts";
import { ViewMachine } from "../../../core/kernel/view-machine.ts";
import type { ViewChange } from "../../../core/kernel/view-change.ts";
import type { KernelRecord, OrderedRecord } from "../../../core/kernel/view.ts";
import type { Host } from "../harness/host.ts";
import type { Simulation } from "../harness/simulation.ts";

export interface LogFaults {
  /** A proposal does not arrive; its answer does not. */
  lost: number;
  answerLost: number;
  latencyMs: { min: number; max: number };
}

export const calmLog: LogFaults = { lost: 0, answerLost: 0, latencyMs: { min: 0.5, max: 4 } };

export class SimLog {
  readonly #sim: Simulation;
  readonly records: OrderedRecord[] = [];
  readonly truth = new ViewMachine();
  /** Of the View at each index, when somebody asked. */
  readonly #snapshots = new Map<number, string>();
  readonly #readers = new Set<{
    host: Host;
    life: number;
    next: number;
    read: (record: OrderedRecord) => void;
  }>();
  /** Hosts that do not reach it. */
  readonly cut = new Set<string>();
  faults = calmLog;
  onBefore: (record: OrderedRecord) => void = () => {};
  onOrdered: (record: OrderedRecord, change: ViewChange) => void = () => {};

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  propose(from: Host, record: KernelRecord, answer: (answer: ProposalAnswer) => void): void {
    const { random } = this.#sim;
    const tell = (what: ProposalAnswer) => from.enter(from.life, () => answer(what));
    const { life } = from;
    const later = (what: ProposalAnswer, ms: number) =>
      this.#sim.after(ms, () => {
        if (from.life === life) tell(what);
      });
    if (this.cut.has(from.id) || random.chance(this.faults.lost)) {
      this.#sim.count("log:proposal lost");
      // Refused at once, or nobody knows: then it was not ordered, which nobody may rely on.
      later(random.chance(0.5) ? "unavailable" : "unknown", random.between(1, 300));
      return;
    }
    this.#sim.after(this.#latencyMs(), () => {
      const index = this.#order(record);
      if (this.cut.has(from.id) || random.chance(this.faults.answerLost)) {
        this.#sim.count("log:answer lost");
        later("unknown", random.between(1, 400));
      } else later({ index }, this.#latencyMs());
    });
  }

  /** From the first record on, in order. */
  follow(host: Host, read: (record: OrderedRecord) => void): void {
    const reader = { host, life: host.life, next: 0, read };
    this.#readers.add(reader);
    this.#feed(reader);
  }

  /** The View that every kernel must have at that index. */
  snapshotAt(index: number): string {
    let snapshot = this.#snapshots.get(index);
    if (snapshot === undefined) {
      const view = new ViewMachine();
      for (const record of this.records) {
        if (record.index > index) break;
        view.apply(record);
      }
      snapshot = JSON.stringify(view.snapshot());
      this.#snapshots.set(index, snapshot);
    }
    return snapshot;
  }

  #order(record: KernelRecord): number {
    const index = (this.records.at(-1)?.index ?? 0) + this.#sim.random.integer(1, 3);
    const ordered: OrderedRecord = { index, id: this.#sim.random.id(), record };
    this.records.push(ordered);
    this.onBefore(ordered);
    const change = this.truth.apply(ordered);
    this.#sim.log(`record ${index} ${JSON.stringify(record)} ${change.type === "refused" ? change.why : ""}`);
    this.#sim.count(change.type === "refused" ? "record:refused" : `record:${change.type}`);
    this.onOrdered(ordered, change);
    return index;
  }

  /** One record after another, each when the last has been read. */
  #feed(reader: { host: Host; life: number; next: number; read: (record: OrderedRecord) => void }): void {
    this.#sim.after(this.#latencyMs(), () => {
      const { host, life } = reader;
      if (host.life !== life || !host.running) {
        this.#readers.delete(reader);
        return;
      }
      if (!this.cut.has(host.id)) {
        while (reader.next < this.records.length) {
          const record = this.records[reader.next++]!;
          host.enter(life, () => reader.read(record));
          if (this.#sim.random.chance(0.3)) break;
        }
      }
      this.#feed(reader);
    });
  }

  #latencyMs(): number {
    const { min, max } = this.faults.latencyMs;
    return this.#sim.random.between(min, max);
  }
}
