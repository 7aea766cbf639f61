/**
 * What a kernel tells of itself to whoever asks: its endpoints, its View, and the messages of one endpoint. It outlives kernels: a
 * trace goes on with the next one.
 */
import type { KernelQuery, KernelViewLine } from "../agent-protocol.ts";
import { listEndpoints } from "../kernel/endpoint-list.ts";
import { type Endpoint, formatEndpoint } from "../kernel/endpoint.ts";
import type { KernelMachine, WatchLocal } from "../kernel/kernel-machine.ts";
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
  #machine: KernelMachine | null = null;

  constructor(send: (id: string, line: string | null) => void) {
    this.#send = send;
  }

  /** The kernel that there is now; null: none. */
  attach(machine: KernelMachine | null): void {
    if (this.#machine) this.#machine.watchLocal = null;
    this.#machine = machine;
    this.#watch();
  }

  /** A page of endpoints ends by itself, a trace with the last message that was asked for, or `stop`. */
  start(id: string, { what, endpoint, max }: KernelQuery): void {
    if (what === "trace") {
      this.#traces.set(id, { endpoint, left: max, secondMs: 0, told: 0, leftOut: 0 });
      this.#watch();
      return;
    }
    if (what === "view") {
      if (this.#machine) this.#send(id, JSON.stringify(viewLine(this.#machine)));
      this.#send(id, null);
      return;
    }
    const listed = this.#machine ? listEndpoints(this.#machine, endpoint, max) : [];
    for (const row of listed) this.#send(id, JSON.stringify(row));
    this.#send(id, null);
  }

  stop(id: string): void {
    this.#traces.delete(id);
    this.#watch();
  }

  /** A message that goes to another kernel, or has come from it. */
  message(direction: "to" | "from", kernel: KernelId, message: KernelMessage): void {
    for (const [id, trace] of this.#traces) {
      if (!concerns(message, trace.endpoint)) continue;
      this.#tell(id, trace, () => ({ [direction]: kernel, ...fieldsOf(message) }));
    }
  }

  /** Only while there are traces, so that local calls cost nothing otherwise. */
  #watch(): void {
    if (this.#machine) this.#machine.watchLocal = this.#traces.size > 0 ? this.#local : null;
  }

  readonly #local: WatchLocal = (message, source, destination, type) => {
    for (const [id, trace] of this.#traces) {
      if (trace.endpoint !== source && trace.endpoint !== destination) continue;
      const ends = { source: formatEndpoint(source), destination: formatEndpoint(destination) };
      this.#tell(id, trace, () => ({ local: true, message, ...ends, type }));
    }
  };

  #tell(id: string, trace: Trace, describe: () => Record<string, unknown>): void {
    const nowMs = performance.now();
    if (nowMs - trace.secondMs >= 1_000) Object.assign(trace, { secondMs: nowMs, told: 0 });
    if (trace.told++ >= tracedPerSecondMax) {
      trace.leftOut++;
      return;
    }
    const line = { time: new Date().toISOString(), ...describe() };
    this.#send(id, JSON.stringify(trace.leftOut > 0 ? { ...line, leftOut: trace.leftOut } : line));
    trace.leftOut = 0;
    if (--trace.left > 0) return;
    this.stop(id);
    this.#send(id, null);
  }
}

function viewLine({ view }: KernelMachine): KernelViewLine {
  const { kernel, epoch } = view.grantor;
  const node = view.members.get(kernel)?.node ?? "";
  return { index: view.index, members: view.members.size, grantor: { kernel, epoch, node } };
}

/** By name, but for bodies: what processes say to each other is theirs. */
function fieldsOf(message: KernelMessage): Record<string, unknown> {
  const name = messageNames[message[0]]!;
  const fields: Record<string, unknown> = { message: name };
  for (const [i, [field, kind]] of messageTable[name].fields.entries()) {
    const value = message[i + 1];
    if (kind === "endpoint") fields[field] = formatEndpoint(value as Endpoint);
    else if (kind !== "body" && kind !== "bytes") fields[field] = value;
  }
  return fields;
}

function concerns(message: KernelMessage, endpoint: number): boolean {
  const { fields } = messageTable[messageNames[message[0]]!];
  return fields.some(([, kind], i) => kind === "endpoint" && message[i + 1] === endpoint);
}
