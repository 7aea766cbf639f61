/** Two kernels' proxies in one process, joined by wires that carry bytes when they are told to. */
import { endpointOf } from "../../../../core/kernel/endpoint.ts";
import { type KernelMessage, messageTable } from "../../../../core/kernel/messages.ts";
import type { Authenticator } from "../../../../core/kernel/proxy/authenticator.ts";
import type { Connection } from "../../../../core/kernel/proxy/connection-machine.ts";
import type { Channel } from "../../../../core/kernel/proxy/channel-machine.ts";
import type { ChannelName } from "../../../../core/kernel/proxy/link-messages.ts";
import { ProxiesMachine, type ProxiesOptions } from "../../../../core/kernel/proxy/proxies-machine.ts";
import type { Wire, WireUser } from "../../../../core/kernel/proxy/wire.ts";
import type { KernelId, Member } from "../../../../core/kernel/view.ts";
import { linkTickMs } from "../../../../core/limits.ts";

export const source = endpointOf(1, 1);

/** A small message that is told apart by its number. */
export function taken(number: number): KernelMessage {
  return [messageTable.taken.number, source, number];
}
export function request(number: number, body: unknown): KernelMessage {
  return [messageTable.request.number, source, number, source, 0, 0, 1, body];
}
export function data(number: number, bytes: Uint8Array): KernelMessage {
  return [messageTable.data.number, source, number, 1, bytes];
}
export function beacon(number: number): KernelMessage {
  return [messageTable.beacon.number, number, 1.5, 0, 1, 7];
}

export function memberOf(kernel: KernelId): Member {
  return {
    kernel,
    incarnation: `incarnation-${kernel}`,
    node: `n${kernel}`,
    cpu: 0,
    unix: "",
    host: "",
    port: 0,
    protocol: 1,
    protocolMin: 1,
  };
}

/** Everybody is who it says; what is proved is the transcript itself, shortened. */
export const trusting: Authenticator = {
  binding: new Uint8Array(64),
  refuses: () => null,
  prove: digest,
  verify: (transcript, proof) => Buffer.compare(digest(transcript), proof) === 0,
};
function digest(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(new Bun.CryptoHasher("sha256").update(bytes).digest());
}

/** One end. What is written waits until `pump`. */
export class LabWire implements Wire {
  far!: LabWire;
  user: WireUser | null = null;
  /** On its way to the far end. */
  sent: Uint8Array[] = [];
  closed = false;
  /** Writes are refused from here on: the far end does not read. */
  stuck = false;
  ended: "close" | "destroy" | null = null;

  get queued(): number {
    return this.stuck ? this.sent.reduce((n, bytes) => n + bytes.length, 0) : 0;
  }
  write(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.closed) this.sent.push(bytes.slice(start, end));
    return !this.stuck;
  }
  close(): void {
    this.ended ??= "close";
    this.closed = true;
  }
  destroy(): void {
    this.ended ??= "destroy";
    this.sent = [];
    this.closed = true;
  }
  /** The network's doing. */
  cut(): void {
    for (const end of [this, this.far]) {
      end.closed = true;
      end.sent = [];
      end.user?.onClose();
      end.user = null;
    }
  }
  /** Carries what is on its way; true if there was something. */
  pump(): boolean {
    if (this.stuck) return false;
    const sent = this.sent.splice(0);
    for (const bytes of sent) this.far.user?.onData(bytes);
    if (this.closed && this.far.user) {
      const { user } = this.far;
      this.far.user = null;
      user.onEnd();
      user.onClose();
      return true;
    }
    return sent.length > 0;
  }
  unstick(): void {
    this.stuck = false;
    this.user?.onDrain();
  }
}

export interface Dialled {
  channel: ChannelName;
  connection: Connection;
  near: LabWire;
  to: KernelId;
}

export class LabKernel {
  readonly proxies: ProxiesMachine;
  readonly received: KernelMessage[] = [];
  readonly reports: string[] = [];
  writable = 0;
  /** How often it has asked for a tick. */
  wantedTicks = 0;
  /** Dials that nobody has let through yet. */
  dials: Dialled[] = [];
  soon = false;

  constructor(lab: Lab, kernel: KernelId, options: Partial<ProxiesOptions> = {}) {
    this.proxies = new ProxiesMachine(
      {
        deliver: (_from, message) => this.received.push(message),
        writable: () => this.writable++,
        report: (text) => this.reports.push(text),
        soon: () => (this.soon = true),
        wantTick: () => this.wantedTicks++,
        dial: (member, channel, connection) => {
          const near = new LabWire();
          this.dials.push({ channel, connection, near, to: member.kernel });
          return near;
        },
      },
      {
        instance: "i1",
        incarnation: `incarnation-${kernel}`,
        protocol: 1,
        protocolMin: 1,
        nowMs: lab.nowMs,
        random: () => 0.5,
        nonce: () => Uint8Array.from({ length: 16 }, () => lab.nonces++),
        ...options,
      },
    );
    this.proxies.join(kernel);
  }

  channel(of: KernelId, name: ChannelName = "calls"): Channel {
    return this.proxies.peers.get(of)![name];
  }
  numbers(): number[] {
    return this.received.map((message) => message[2] as number);
  }
}

export class Lab {
  nowMs = 5_000;
  nonces = 0;
  readonly kernels = new Map<KernelId, LabKernel>();
  readonly wires: LabWire[] = [];

  /** Kernels 1 and 2, who have each other in their views. */
  static pair(
    one: Partial<ProxiesOptions> = {},
    two: Partial<ProxiesOptions> = {},
  ): [Lab, LabKernel, LabKernel] {
    const lab = new Lab();
    const a = lab.add(1, one);
    const b = lab.add(2, two);
    a.proxies.add(memberOf(2));
    b.proxies.add(memberOf(1));
    return [lab, a, b];
  }

  add(kernel: KernelId, options: Partial<ProxiesOptions> = {}): LabKernel {
    const added = new LabKernel(this, kernel, options);
    this.kernels.set(kernel, added);
    return added;
  }

  /** The dial reaches its kernel: both ends have a wire. */
  letThrough({ connection, near, to }: Dialled, authenticator = trusting): LabWire {
    const far = new LabWire();
    near.far = far;
    far.far = near;
    this.wires.push(near, far);
    near.user = connection;
    far.user = this.kernels.get(to)!.proxies.accept(far, authenticator);
    connection.open(near, authenticator);
    return near;
  }

  tick(ms = linkTickMs): void {
    for (let left = ms; left > 0; left -= linkTickMs) {
      this.nowMs += Math.min(linkTickMs, left);
      for (const { proxies } of this.kernels.values()) proxies.tick(this.nowMs);
    }
  }

  /** Carries everything until nothing moves: dials too, unless told not to. */
  settle(dials = true): void {
    for (let moved = true; moved;) {
      moved = false;
      for (const kernel of this.kernels.values()) {
        if (dials) for (const dial of kernel.dials.splice(0)) moved = this.letThrough(dial) !== null;
        if (kernel.soon) kernel.proxies.flush();
        moved ||= kernel.soon;
        kernel.soon = false;
      }
      for (const wire of this.wires) moved = wire.pump() || moved;
    }
  }

  /** Time passes, everything arrives. */
  run(ms: number): void {
    for (let left = ms; left > 0; left -= linkTickMs) {
      this.tick();
      this.settle();
    }
  }
}
