/** Two to five kernels, their view, which each of them reads at its own pace, and the wires between them. */
import type { KernelId, Member } from "../../../core/kernel/view.ts";
import { frameBlockBytes, linkBytesHigh, messageBytesMax } from "../../../core/limits.ts";
import type { Simulation } from "../harness/simulation.ts";
import { channelNames } from "../../../core/kernel/proxy/link-messages.ts";
import { SimKernel } from "./sim-kernel.ts";
import { SimWire } from "./sim-wire.ts";

export type ViewRecord = { join: Member } | { remove: KernelId };

export class ProxyWorld {
  readonly sim: Simulation;
  readonly kernels: SimKernel[] = [];
  readonly records: ViewRecord[] = [];
  readonly wires: SimWire[] = [];
  /** How late views are read. */
  viewMs = 50;
  #wireBytes: number;

  constructor(sim: Simulation) {
    this.sim = sim;
    this.#wireBytes = sim.random.pick([2_000, 30_000, 300_000]);
    sim.invariant = () => this.#checkBounds();
  }

  fail(what: string): never {
    throw new Error(what);
  }

  living(): SimKernel[] {
    return this.kernels.filter((kernel) => kernel.host.running);
  }

  /** Those in the view, whether they live or not. */
  members(): Member[] {
    return this.membersBefore(Infinity);
  }

  membersBefore(kernel: KernelId): Member[] {
    const members = new Map<KernelId, Member>();
    for (const record of this.records) {
      if ("remove" in record) members.delete(record.remove);
      else if (record.join.kernel < kernel) members.set(record.join.kernel, record.join);
    }
    return [...members.values()];
  }

  /** A host process starts and joins. */
  start(): void {
    const incarnation = this.sim.random.id(16);
    const host = this.sim.host(`k${this.kernels.length + 1}`);
    host.start();
    const kernel = new SimKernel(this, host, incarnation);
    this.kernels.push(kernel);
    this.#write({
      join: {
        kernel: this.records.length + 1,
        incarnation,
        node: "n1",
        cpu: 0,
        unix: incarnation,
        host: "",
        port: 0,
        protocol: 1,
        protocolMin: 1,
      },
    });
    for (let i = 0; i < this.records.length; i++) this.#read(kernel);
  }

  /** The view says that it has gone. It should not run by then, but perhaps does not know it. */
  remove(kernel: SimKernel): void {
    if (kernel.id !== 0) this.#write({ remove: kernel.id });
  }

  connect(from: SimKernel, to: SimKernel, open: (wire: SimWire) => void): SimWire {
    const near = new SimWire(this.sim, from.host, this.#wireBytes);
    near.onOpen = () => open(near);
    near.attach(
      this.sim.network.connect(from.host, to.host, (stream) => {
        const far = new SimWire(this.sim, to.host, this.#wireBytes);
        far.attach(stream);
        this.wires.push(far);
        to.accept(far);
        far.accepted();
      }),
    );
    this.wires.push(near);
    return near;
  }

  #write(record: ViewRecord): void {
    this.records.push(record);
    this.sim.log(JSON.stringify(record));
    for (const kernel of this.living()) this.#read(kernel);
  }

  /** Reads one more record some time; in order, since each reads the next. */
  #read(kernel: SimKernel): void {
    kernel.host.after(this.sim.random.between(0, this.viewMs), () => {
      const record = this.records[kernel.read];
      if (record) kernel.apply(record);
      if (record) kernel.read++;
    });
  }

  /** What the limits promise, at every moment. */
  #checkBounds(): void {
    for (const { proxies, id } of this.kernels) {
      for (const peer of proxies.peers.values()) {
        for (const name of channelNames) {
          const { bytes } = peer[name].outbox;
          if (bytes > linkBytesHigh + messageBytesMax + 1_024) {
            this.fail(`kernel ${id} keeps ${bytes} bytes for kernel ${peer.member.kernel}`);
          }
          const { wire } = peer[name].link ?? {};
          const most = this.#wireBytes + frameBlockBytes + messageBytesMax + 1_024;
          if (wire && wire.queued > most) this.fail(`kernel ${id} has ${wire.queued} bytes in one wire`);
        }
      }
    }
  }
}
