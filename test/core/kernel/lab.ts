/**
 * A few kernels joined by queues, one order of records, one clock that stands still until it is told to go on: what
 * scenarios of the kernel are written with. Messages between kernels go through the real codec.
 */
import type { BindOptions } from "../../../core/kernel/bindings.ts";
import type { Call } from "../../../core/kernel/call.ts";
import type { Endpoint } from "../../../core/kernel/endpoint.ts";
import { KernelMachine } from "../../../core/kernel/kernel-machine.ts";
import type { Message } from "../../../core/kernel/message.ts";
import { type KernelMessage, type MessageName, messageNames } from "../../../core/kernel/messages.ts";
import type { Outcome } from "../../../core/kernel/outcome.ts";
import { type Privileges, privilegeBits } from "../../../core/kernel/privileges.ts";
import type { Proc } from "../../../core/kernel/proc.ts";
import { ByteWriter } from "../../../core/kernel/proxy/byte-writer.ts";
import { decodeMessage } from "../../../core/kernel/proxy/decode.ts";
import { encodeFields, Long } from "../../../core/kernel/proxy/encode.ts";
import { wireRows } from "../../../core/kernel/proxy/rows.ts";
import type { KernelSink } from "../../../core/kernel/sink.ts";
import type { ViewChange } from "../../../core/kernel/view-change.ts";
import { ViewMachine } from "../../../core/kernel/view-machine.ts";
import type { KernelRecord, OrderedRecord } from "../../../core/kernel/view.ts";
import { frameBytesMax, kernelTickMs } from "../../../core/limits.ts";

export interface BindLike extends Omit<BindOptions, "privileges"> {
  privileges?: Partial<Privileges>;
}

export class Lab {
  nowMs = 1_000;
  readonly kernels: LabKernel[] = [];
  readonly records: OrderedRecord[] = [];
  /** After all records; what became of each. */
  readonly view = new ViewMachine();
  readonly changes: ViewChange[] = [];
  /** Records are ordered, and read by those that read. */
  ordering = true;

  constructor(kernels = 1) {
    for (let i = 0; i < kernels; i++) this.add();
    this.until(() => this.kernels.every(({ machine }) => !machine.frozen));
  }

  add(incarnation = `i${this.kernels.length + 1}`): LabKernel {
    const kernel = new LabKernel(this, incarnation);
    this.kernels.push(kernel);
    kernel.machine.join();
    return kernel;
  }

  /** Records and messages come and go until there are none. The clock stands still. */
  settle(): void {
    while (this.#step());
  }

  /** Time goes by, in the steps in which kernels are told of it. */
  run(ms: number): void {
    this.settle();
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += Math.min(kernelTickMs, endMs - this.nowMs);
      for (const kernel of this.kernels) if (kernel.running) kernel.machine.tick(this.nowMs);
      this.settle();
    }
  }

  /** At most a minute. */
  until(condition: () => boolean): void {
    this.settle();
    for (const endMs = this.nowMs + 60_000; !condition(); this.run(kernelTickMs)) {
      if (this.nowMs > endMs) throw new Error(`not within a minute: ${String(condition)}`);
    }
  }

  propose(record: KernelRecord): number {
    const index = this.records.length + 1;
    const ordered = { index, id: `r${index}`, record };
    this.records.push(ordered);
    this.changes.push(this.view.apply(ordered));
    return index;
  }

  #step(): boolean {
    let moved = false;
    for (const kernel of this.kernels) if (kernel.running) moved = kernel.step() || moved;
    return moved;
  }
}

export class LabKernel implements KernelSink {
  readonly lab: Lab;
  readonly machine: KernelMachine;
  /** Its host process runs, and looks at the clock. */
  running = true;
  /** It reads no records. */
  deaf = false;
  /** Nothing it transmits to these arrives, until it does; beacons never. */
  readonly cut = new Set<LabKernel>();
  /** Kernels whose proxies have no room. */
  readonly jammed = new Set<LabKernel>();
  /** Messages to other kernels but beacons, in order. */
  readonly sent: MessageName[] = [];
  readonly states: ("freeze" | "thaw" | "exit")[] = [];
  readonly promotions: Endpoint[] = [];
  #read = 0;
  readonly #proposals: { ticket: number; record: KernelRecord }[] = [];
  readonly #queue: { to: number; message: KernelMessage }[] = [];
  #wantsFlush = false;

  constructor(lab: Lab, incarnation: string) {
    this.lab = lab;
    const member = { incarnation, node: incarnation, cpu: 0, unix: "", host: "", port: 0 };
    this.machine = new KernelMachine(this, {
      member: { ...member, protocol: 1, protocolMin: 1 },
      nowMs: lab.nowMs,
    });
  }

  get id(): number {
    return this.machine.id;
  }
  /** Messages that wait for the cut to end. */
  get held(): MessageName[] {
    return this.#queue.map(({ message }) => messageNames[message[0]]!);
  }

  // What its processes do

  bind({ privileges, ...rest }: BindLike = {}): Proc {
    const call = this.machine.bind({ ...rest, privileges: privilegeBits(privileges) });
    this.lab.until(() => call.outcome !== null);
    if (call.outcome !== "OK") throw new Error(`bind: ${call.outcome}`);
    return call.result!.body as Proc;
  }
  send(from: Proc, to: Proc | Endpoint, body: unknown = null, timeoutMs?: number): Call {
    return this.machine.send(from, endpointOf(to), { type: 1, body }, timeoutMs);
  }
  sendrec(from: Proc, to: Proc | Endpoint, body: unknown = null, timeoutMs?: number): Call {
    return this.machine.sendrec(from, endpointOf(to), { type: 1, body }, timeoutMs);
  }
  receive(proc: Proc, from: Proc | Endpoint = -1, timeoutMs?: number): Call {
    return this.machine.receive(proc, endpointOf(from), false, timeoutMs);
  }
  receiveRequest(proc: Proc, timeoutMs?: number): Call {
    return this.machine.receive(proc, -1, true, timeoutMs);
  }
  /** What is there now. */
  taken(proc: Proc): Call | null {
    this.lab.settle();
    return this.machine.tryReceive(proc, -1, false);
  }
  reply(proc: Proc, request: Message, body: unknown = null): Outcome {
    return this.machine.reply(proc, request as Call, { type: 2, body });
  }

  // What happens to it

  /** Its host process is gone; its node's agent has seen that. */
  die(): void {
    this.running = false;
    this.lab.propose({ type: "remove", kernel: this.id, reason: "exit-certificate" });
  }

  step(): boolean {
    let moved = false;
    const { records, ordering } = this.lab;
    for (const { ticket, record } of ordering ? this.#proposals.splice(0) : []) {
      const index = this.lab.propose(record);
      this.machine.proposed(ticket, { index });
      moved = true;
    }
    while (!this.deaf && this.#read < records.length) {
      this.machine.apply(records[this.#read++]!);
      moved = true;
    }
    if (this.#wantsFlush) {
      this.#wantsFlush = false;
      this.machine.flush();
      moved = true;
    }
    for (const sent of this.#queue.splice(0)) {
      const peer = this.lab.kernels.find(({ id }) => id === sent.to);
      const isCut = peer !== undefined && this.cut.has(peer);
      if (isCut && !wireRows[sent.message[0]]!.lossy) this.#queue.push(sent);
      else if (isCut) continue;
      else if (peer?.running) {
        peer.machine.arrived(this.id, carried(sent.message));
        moved = true;
      }
    }
    return moved;
  }

  unjam(peer: LabKernel): void {
    this.jammed.delete(peer);
    this.machine.writable(peer.id);
  }

  // The sink

  complete(call: Call): void {
    call.waiter!(call);
  }
  transmit(to: number, message: KernelMessage): boolean {
    const name = messageNames[message[0]]!;
    if (name !== "beacon" && name !== "beaconAck") this.sent.push(name);
    this.#queue.push({ to, message });
    return ![...this.jammed].some(({ id }) => id === to);
  }
  propose(ticket: number, record: KernelRecord): void {
    this.#proposals.push({ ticket, record });
  }
  wantFlush(): void {
    this.#wantsFlush = true;
  }
  freeze(): void {
    this.states.push("freeze");
  }
  thaw(): void {
    this.states.push("thaw");
  }
  exit(): void {
    this.states.push("exit");
  }
  moveStarted(endpoint: Endpoint, g: number): void {
    this.machine.abortMove(endpoint, g);
  }
  moveOffered(endpoint: Endpoint, g: number): void {
    this.machine.declineMove(endpoint, g);
  }
  moveEnded(): void {}
  promoted(endpoint: Endpoint): void {
    this.promotions.push(endpoint);
  }
}

export interface Where {
  lab: Lab;
  /** The caller's kernel, and the kernel of whom it calls. */
  near: LabKernel;
  far: LabKernel;
}

/** The same scenario on one kernel and between two. */
export const places: [string, () => Where][] = [
  ["on one kernel", () => whereOf(new Lab(1), 0)],
  ["between kernels", () => whereOf(new Lab(2), 1)],
];
function whereOf(lab: Lab, far: number): Where {
  return { lab, near: lab.kernels[0]!, far: lab.kernels[far]! };
}

export function bodiesOf(calls: readonly (Message | null)[]): unknown[] {
  return calls.map((call) => call?.body);
}

function endpointOf(to: Proc | Endpoint): Endpoint {
  return typeof to === "number" ? to : to.endpoint;
}

const long = new Long();
const writer = new ByteWriter(new Uint8Array(frameBytesMax + 16));

/** As it comes out at the other end. */
function carried(message: KernelMessage): KernelMessage {
  const row = wireRows[message[0]]!;
  writer.at = 0;
  long.set(row, message);
  encodeFields(writer, row, message, long);
  if (long.isBig) writer.raw(long.bytes!);
  return decodeMessage(writer.bytes.slice(0, writer.at), 0, writer.at);
}
