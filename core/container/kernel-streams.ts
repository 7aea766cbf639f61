/** What a kernel tells of itself to whoever asks: its endpoints, and the messages of one of them. */
import type { KernelQuery } from "../agent-protocol.ts";
import { infoOf } from "../kernel/calls/do-get-info.ts";
import { formatEndpoint } from "../kernel/endpoint.ts";
import type { KernelMachine } from "../kernel/kernel-machine.ts";
import { type KernelMessage, messageNames, messageTable } from "../kernel/messages.ts";
import type { KernelId } from "../kernel/view.ts";
import { tracedPerSecondMax } from "../limits.ts";

interface Trace {
  endpoint: number;
  left: number;
  secondMs: number;
  /** In this second. */
  told: number;
  leftOut: number;
}

export class KernelStreams {
  readonly #send: (id: string, line: string | null) => void;
  readonly #traces = new Map<string, Trace>();

  constructor(send: (id: string, line: string | null) => void) {
    this.#send = send;
  }

  start(id: string, { what, endpoint, max }: KernelQuery, machine: KernelMachine | null): void {
    if (what === "trace" && machine) {
      this.#traces.set(id, { endpoint, left: max, secondMs: 0, told: 0, leftOut: 0 });
      return;
    }
    let left = max;
    for (const proc of machine?.table.all() ?? []) {
      if (left-- === 0) break;
      const info = infoOf(machine!, proc);
      this.#send(id, JSON.stringify({ ...info, endpoint: formatEndpoint(info.endpoint), id: info.endpoint }));
    }
    this.#send(id, null);
  }

  stop(id: string): void {
    this.#traces.delete(id);
  }

  /** A message that goes to another kernel, or has come from it. */
  message(direction: "to" | "from", kernel: KernelId, message: KernelMessage): void {
    for (const [id, trace] of this.#traces)
      if (concerns(message, trace.endpoint)) this.#tell(id, trace, direction, kernel, message);
  }

  #tell(id: string, trace: Trace, direction: "to" | "from", kernel: KernelId, message: KernelMessage): void {
    const nowMs = performance.now();
    if (nowMs - trace.secondMs >= 1_000) Object.assign(trace, { secondMs: nowMs, told: 0 });
    if (trace.told++ >= tracedPerSecondMax) {
      trace.leftOut++;
      return;
    }
    const name = messageNames[message[0]]!;
    const line: Record<string, unknown> = {
      time: new Date().toISOString(),
      [direction]: kernel,
      message: name,
    };
    for (const [i, [field, kind]] of messageTable[name].fields.entries()) {
      const value = message[i + 1];
      if (kind === "endpoint") line[field] = formatEndpoint(value as number);
      // What processes say to each other is theirs.
      else if (kind !== "body" && kind !== "bytes") line[field] = value;
    }
    if (trace.leftOut > 0) line["leftOut"] = trace.leftOut;
    trace.leftOut = 0;
    this.#send(id, JSON.stringify(line));
    if (--trace.left > 0) return;
    this.#traces.delete(id);
    this.#send(id, null);
  }
}

function concerns(message: KernelMessage, endpoint: number): boolean {
  const { fields } = messageTable[messageNames[message[0]]!];
  return fields.some(([, kind], i) => kind === "endpoint" && message[i + 1] === endpoint);
}
