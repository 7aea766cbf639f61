/**
 * The order of the instance's records as a container has it: through its agent, which has it from the coordinator.
 * Without an agent, or with one that has no coordinator, nothing comes and nothing is ordered; nothing is lost by it.
 */
import { DvsError, type ErrorCode, ERRORS } from "../errors.ts";
import { ViewMachine, type ViewSnapshot } from "../kernel/view-machine.ts";
import type { KernelRecord, OrderedRecord, RecordLog } from "../kernel/view.ts";
import { proposeTimeoutMs, recordsPerAck } from "../limits.ts";
import type { FromContainer, ToContainer } from "./control.ts";

interface Proposal {
  /** What had come when it was proposed. */
  after: number;
  resolve(index: number): void;
  reject(error: DvsError): void;
}

export interface RelayedRecordsOptions {
  /** To every agent that listens. False when none does. */
  send(message: FromContainer): boolean;
  /** Something that must not be: records are missing. The container is to begin anew, under another incarnation. */
  onGap(reason: string): void;
}

export class RelayedRecords implements RecordLog {
  readonly #options: RelayedRecordsOptions;
  readonly #proposals = new Map<string, Proposal>();
  /** Of the last that came. */
  #index = 0;
  /** Of the store that orders the records; undefined until some have come. */
  #generation: number | undefined;
  #following = false;
  #begun = false;
  /** What was not handed out yet, and what wakes whoever waits for it. */
  #arrived: (OrderedRecord | { snapshot: ViewSnapshot })[] = [];
  #wake: (() => void) | null = null;
  #unacked = 0;

  constructor(options: RelayedRecordsOptions) {
    this.#options = options;
  }

  /** Rejects with FORBIDDEN or INVALID, too: this node may not propose that. */
  propose(id: string, record: KernelRecord): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const timer = setTimeout(() => {
      const message = `No answer to a proposal within ${proposeTimeoutMs / 1000} s; it may or may not be ordered.`;
      this.#settle(id)?.reject(new DvsError("OUTCOME_UNKNOWN", message));
    }, proposeTimeoutMs);
    this.#proposals.set(id, { after: this.#index, resolve, reject });
    const generation = this.#generation;
    if (!this.#options.send({ type: "kernelPropose", id, record, generation })) {
      this.#settle(id)?.reject(new DvsError("UNAVAILABLE", "No agent listens that could order a record."));
    }
    return promise.finally(() => clearTimeout(timer));
  }

  /** For one caller. The first entry is a snapshot, of an empty View where there are no records yet. */
  async *follow(signal: AbortSignal): AsyncGenerator<OrderedRecord | { snapshot: ViewSnapshot }> {
    this.#following = true;
    this.#options.send(this.#request());
    const wake = () => this.#wake?.();
    signal.addEventListener("abort", wake);
    try {
      while (!signal.aborted) {
        const arrived = this.#arrived;
        this.#arrived = [];
        for (const entry of arrived) {
          yield entry;
          // Whoever iterates has applied it: it has asked for the next.
          this.#acknowledge(entry);
        }
        if (this.#arrived.length > 0 || signal.aborted) continue;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = null;
      }
    } finally {
      signal.removeEventListener("abort", wake);
      this.#following = false;
    }
  }

  /** What a new agent has to be told. */
  messages(): FromContainer[] {
    return this.#following ? [this.#request()] : [];
  }

  #request(): FromContainer {
    const generation = this.#generation;
    return { type: "kernelFollow", after: this.#index, ...(generation === undefined ? {} : { generation }) };
  }

  receive(message: Extract<ToContainer, { type: "kernelRecords" | "kernelProposed" }>): void {
    if (message.type === "kernelProposed") return this.#answer(message);
    const { snapshot, records, generation = 1 } = message;
    if (this.#begun && generation !== this.#generation) {
      const before = this.#generation;
      this.#options.onGap(`the store was restored: its generation is ${generation}, it was ${before}`);
      return;
    }
    this.#generation = generation;
    if (!this.#begun) {
      this.#begun = true;
      const first = snapshot ?? new ViewMachine().snapshot();
      this.#index = first.index;
      this.#arrived.push({ snapshot: first });
    } else if (snapshot && snapshot.index > this.#index) {
      this.#options.onGap(`records from ${this.#index} to ${snapshot.index} are missing`);
      return;
    }
    for (const record of records) {
      // Two agents, while one replaces the other, send the same.
      if (record.index <= this.#index) continue;
      this.#index = record.index;
      this.#arrived.push(record);
    }
    this.#wake?.();
  }

  #answer({ id, index, code, reason }: Extract<ToContainer, { type: "kernelProposed" }>): void {
    const proposal = this.#settle(id);
    if (proposal && index !== null && index <= proposal.after) {
      const reason = `a record was ordered as ${index} when ${proposal.after} had been read: an older store was put back`;
      proposal.reject(new DvsError("OUTCOME_UNKNOWN", reason));
      this.#options.onGap(reason);
    } else if (index !== null) proposal?.resolve(index);
    else proposal?.reject(new DvsError(code in ERRORS ? (code as ErrorCode) : "OUTCOME_UNKNOWN", reason));
  }

  #settle(id: string): Proposal | undefined {
    const proposal = this.#proposals.get(id);
    this.#proposals.delete(id);
    return proposal;
  }

  #acknowledge(entry: OrderedRecord | { snapshot: ViewSnapshot }): void {
    if (++this.#unacked < recordsPerAck || !("index" in entry)) return;
    this.#unacked = 0;
    this.#options.send({ type: "kernelRead", index: entry.index });
  }
}
