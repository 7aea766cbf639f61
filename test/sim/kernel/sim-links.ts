/**
 * What the proxies promise: between two kernels each message once and in order, on two channels, as late as may be.
 * One-way cuts hold everything back until they are mended; beacons, which are worthless then, are lost.
 */
import {
  type KernelMessage,
  messageNames,
  messageTable,
  type MessageRow,
} from "../../../core/kernel/messages.ts";
import type { Host } from "../harness/host.ts";
import type { Simulation } from "../harness/simulation.ts";

/** Messages under way on a channel at which its sender is told to wait. */
const fullAt = 40;

interface Channel {
  /** Nothing could go, and it is tried again. */
  broken: boolean;
  waiting: { message: KernelMessage; atMs: number }[];
  lastMs: number;
  moving: boolean;
  full: boolean;
}

export interface LinkEnd {
  host: Host;
  /** Kernel number, once it has one. */
  id: () => number;
  arrived: (from: number, message: KernelMessage) => void;
  writable: (peer: number) => void;
}

export class SimLinks {
  readonly #sim: Simulation;
  readonly #channels = new Map<string, Channel>();
  readonly ends = new Map<number, LinkEnd>();
  readonly #cut = new Set<string>();
  latencyMs = { min: 0.05, max: 1 };
  /** Share of messages that are held back, for up to that long. */
  held = { share: 0, ms: 0 };
  delivered = 0;

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }
  mend(from: string, to: string): void {
    this.#cut.delete(`${from}>${to}`);
  }
  mendAll(): void {
    this.#cut.clear();
  }

  /** False: there is much under way. */
  transmit(from: LinkEnd, to: number, message: KernelMessage): boolean {
    const { random } = this.#sim;
    const name = messageNames[message[0]]!;
    this.#sim.count(`message:${name}`);
    const far = this.ends.get(to);
    const row: MessageRow = messageTable[name];
    const isCut = far !== undefined && this.#cut.has(`${from.host.id}>${far.host.id}`);
    if (row.lossy) {
      if (far && !isCut && !random.chance(0.02)) {
        this.#sim.after(this.#latency(), () => this.#arrive(from.id(), far, message));
      }
      return true;
    }
    const key = `${from.id()}>${to}/${row.channel}`;
    const channel = this.#channels.get(key) ?? newChannel();
    this.#channels.set(key, channel);
    channel.lastMs = Math.max(channel.lastMs, this.#sim.nowMs + this.#latency());
    channel.waiting.push({ message: copied(message), atMs: channel.lastMs });
    this.#move(from, to, channel);
    if (channel.waiting.length >= fullAt) channel.full = true;
    return !channel.full;
  }

  #move(from: LinkEnd, to: number, channel: Channel): void {
    if (channel.moving || channel.waiting.length === 0) return;
    channel.moving = true;
    const waitMs = channel.waiting[0]!.atMs - this.#sim.nowMs;
    this.#sim.after(waitMs, () => {
      channel.moving = false;
      const far = this.ends.get(to);
      if (!far || !from.host.running || this.#cut.has(`${from.host.id}>${far.host.id}`)) {
        // Tried again, as a proxy does, while its kernel lives.
        channel.broken = true;
        if (from.host.running) this.#sim.after(20, () => this.#move(from, to, channel));
        return;
      }
      if (channel.broken) this.#sim.count("link:resumed");
      channel.broken = false;
      const { message } = channel.waiting.shift()!;
      this.#arrive(from.id(), far, message);
      if (channel.full && channel.waiting.length < fullAt / 2) {
        channel.full = false;
        const { host } = from;
        host.enter(host.life, () => from.writable(to));
      }
      this.#move(from, to, channel);
    });
  }

  #arrive(from: number, far: LinkEnd, message: KernelMessage): void {
    this.delivered++;
    far.host.enter(far.host.life, () => far.arrived(from, message));
  }

  #latency(): number {
    const { random } = this.#sim;
    const ms = random.between(this.latencyMs.min, this.latencyMs.max);
    return random.chance(this.held.share) ? ms + random.between(0, this.held.ms) : ms;
  }
}

function newChannel(): Channel {
  return { broken: false, waiting: [], lastMs: 0, moving: false, full: false };
}

/** As the wire does: what arrives shares no memory with what was sent. */
function copied<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return value.slice() as T;
  if (Array.isArray(value)) return value.map(copied) as T;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, copied(item)])) as T;
}
