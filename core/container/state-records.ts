/**
 * The order of the instance's records in its replicated state: for containers whose VOS keeps state. No coordinator is
 * needed for it, and no agent.
 */
import { RecordBatch } from "../kernel/record-schema.ts";
import type { KernelRecord, OrderedRecord, RecordLog } from "../kernel/view.ts";
import { ViewMachine, type ViewSnapshot } from "../kernel/view-machine.ts";
import { proposeTimeoutMs } from "../limits.ts";
import type { StateClient } from "../state/client/state-client.ts";
import type { FromContainer } from "./control.ts";

export class StateRecords implements RecordLog {
  readonly #client: StateClient;
  constructor(client: StateClient) {
    this.#client = client;
  }

  async propose(id: string, record: KernelRecord): Promise<number> {
    const { value } = await this.#client.write("views", { op: "record", id, record }, proposeTimeoutMs);
    return value as number;
  }

  async *follow(signal: AbortSignal): AsyncIterable<OrderedRecord | { snapshot: ViewSnapshot }> {
    let index = -1;
    const resume = (query: unknown, last: unknown) => ({
      after: lastOf(RecordBatch.parse(last)) ?? afterOf(query),
    });
    for await (const value of this.#client.follow("views", { after: 0 }, resume, signal)) {
      const { snapshot, records } = RecordBatch.parse(value);
      if (index < 0) {
        const first = snapshot ?? new ViewMachine().snapshot();
        index = first.index;
        yield { snapshot: first };
      } else if (snapshot && snapshot.index > index) {
        throw new Error(`records from ${index} to ${snapshot.index} are missing`);
      }
      for (const record of records) {
        if (record.index <= index) continue;
        index = record.index;
        yield record;
      }
    }
  }

  /** Its agent has nothing to do with it. */
  messages(): FromContainer[] {
    return [];
  }
  receive(): void {}
}

function lastOf({ snapshot, records }: RecordBatch): number | undefined {
  return records.at(-1)?.index ?? snapshot?.index;
}
function afterOf(query: unknown): number {
  return (query as { after: number }).after;
}
