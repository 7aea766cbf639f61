/**
 * The order of records for two host processes of a benchmark: the one that measures has the log, the other has it by
 * lines of JSON on its stdin and stdout. In a container, an agent and a coordinator do this.
 */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { MemoryRecordLog } from "../core/kernel/memory-record-log.ts";
import type { KernelRecord, OrderedRecord, RecordLog } from "../core/kernel/view.ts";

type FromFar = { id: string; record: KernelRecord };
type ToFar = { id: string; index: number } | { entry: OrderedRecord };

/** Serves the log to the child until it ends. */
export function serveLog(log: RecordLog, child: ChildProcess): void {
  const stopped = new AbortController();
  const send = (message: ToFar) => child.stdin!.write(`${JSON.stringify(message)}\n`);
  child.once("exit", () => stopped.abort());
  child.stdin!.on("error", () => {});
  createInterface({ input: child.stdout! }).on("line", (line) => {
    const { id, record } = JSON.parse(line) as FromFar;
    void log.propose(id, record).then((index) => send({ id, index }));
  });
  void (async () => {
    for await (const entry of log.follow(stopped.signal)) if ("record" in entry) send({ entry });
  })();
}

/** The log of the process whose child this one is; `onEnd` when that is gone. */
export class ParentLog implements RecordLog {
  readonly #records = new MemoryRecordLog();
  readonly #proposals = new Map<string, (index: number) => void>();

  constructor(onEnd: () => void) {
    const lines = createInterface({ input: process.stdin });
    lines.on("close", onEnd);
    lines.on("line", (line) => {
      const message = JSON.parse(line) as ToFar;
      if ("entry" in message) this.#records.append(message.entry);
      else this.#proposals.get(message.id)?.(message.index);
    });
  }

  propose(id: string, record: KernelRecord): Promise<number> {
    process.stdout.write(`${JSON.stringify({ id, record } satisfies FromFar)}\n`);
    return new Promise((resolve) => this.#proposals.set(id, resolve));
  }

  follow(signal: AbortSignal): AsyncIterable<OrderedRecord> {
    return this.#records.follow(signal);
  }
}
