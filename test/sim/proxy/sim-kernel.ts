/**
 * One host process with the proxies under test, and in place of a kernel a source of messages whose numbers and
 * contents tell the receiver what should have come.
 */
import { endpointOf } from "../../../core/kernel/endpoint.ts";
import { type KernelMessage, messageTable } from "../../../core/kernel/messages.ts";
import type { Authenticator } from "../../../core/kernel/proxy/authenticator.ts";
import { ProxiesMachine, type ProxySink } from "../../../core/kernel/proxy/proxies-machine.ts";
import type { KernelId, Member } from "../../../core/kernel/view.ts";
import { copyFrameBytes, linkTickMs, messageBytesMax } from "../../../core/limits.ts";
import type { Host } from "../harness/host.ts";
import type { ProxyWorld } from "./proxy-world.ts";
import { SimWire } from "./sim-wire.ts";

export const lanes = ["calls", "bulk", "loose"] as const;
export type Lane = (typeof lanes)[number];
const source = endpointOf(1, 1);

export class SimKernel {
  readonly world: ProxyWorld;
  readonly host: Host;
  readonly incarnation: string;
  readonly proxies: ProxiesMachine;
  id: KernelId = 0;
  /** Of the world's records, how many it has read. */
  read = 0;
  /** Numbers of the last messages: to and from each kernel, by lane. */
  readonly sent = new Map<string, number>();
  readonly received = new Map<string, number>();
  /** Peers that are to get no new calls. */
  readonly full = new Set<KernelId>();
  /** Does not read: its wires fill up. */
  readonly wires = new Set<SimWire>();

  constructor(world: ProxyWorld, host: Host, incarnation: string) {
    this.world = world;
    this.host = host;
    this.incarnation = incarnation;
    const { sim } = world;
    const sink: ProxySink = {
      deliver: (from, message) => this.#deliver(from, message),
      writable: (kernel) => {
        sim.count("back-pressure released");
        this.full.delete(kernel);
      },
      dial: (member, _channel, connection) => {
        sim.count("dialled");
        const to = world.kernels.find((kernel) => kernel.incarnation === member.unix)!;
        return world.connect(this, to, (wire) => {
          wire.user = connection;
          connection.open(wire, authenticator);
        });
      },
      soon: () => host.after(0, () => this.proxies.flush()),
      report: (text) => world.fail(`kernel ${this.id} reports: ${text}`),
      linked: (kernel, channel) => sim.log(`${this.id} linked to ${kernel} for ${channel}`),
    };
    this.proxies = new ProxiesMachine(sink, {
      instance: "i1",
      incarnation,
      protocol: 1,
      protocolMin: 1,
      nowMs: host.nowMs(),
      random: () => sim.random.float(),
      nonce: () => Uint8Array.from({ length: 16 }, () => sim.random.integer(0, 255)),
    });
    host.every(linkTickMs, () => this.proxies.tick(host.nowMs()));
  }

  /** Somebody has connected. */
  accept(wire: SimWire): void {
    wire.user = this.proxies.accept(wire, authenticator);
    if (!wire.user) wire.destroy();
  }

  /** The next record of the view. */
  apply(record: { join: Member } | { remove: KernelId }): void {
    if ("join" in record) {
      const { join: member } = record;
      if (member.incarnation === this.incarnation) {
        this.id = member.kernel;
        this.proxies.join(this.id);
        // Members that it had read of before itself.
        for (const known of this.world.membersBefore(member.kernel)) this.proxies.add(known);
      } else if (this.id !== 0) this.proxies.add(member);
    } else {
      this.proxies.remove(record.remove);
      this.full.delete(record.remove);
    }
  }

  /** A burst to one peer, as far as it takes it. */
  speak(to: KernelId, count: number): void {
    const { random } = this.world.sim;
    if (!this.proxies.peers.has(to)) return;
    for (let i = 0; i < count && !this.full.has(to); i++) {
      const lane: Lane = random.chance(0.02) ? "loose" : random.chance(0.1) ? "bulk" : "calls";
      const number = (this.sent.get(`${to} ${lane}`) ?? 0) + 1;
      this.sent.set(`${to} ${lane}`, number);
      if (this.proxies.transmit(to, this.#message(lane, number))) continue;
      this.world.sim.count("back-pressure");
      this.full.add(to);
    }
  }

  #message(lane: Lane, number: number): KernelMessage {
    const { random } = this.world.sim;
    if (lane === "loose") return [messageTable.beacon.number, number, number + 0.5, 0, 1, 7];
    if (lane === "bulk") {
      const bytes = random.chance(0.5) ? copyFrameBytes : random.integer(1, copyFrameBytes);
      return [messageTable.data.number, source, number, 1, filled(bytes, number)];
    }
    if (random.chance(0.5)) return [messageTable.taken.number, source, number];
    const bytes = random.pick([0, 10, 64, 300, 5_000, 16_384, 40_000]);
    if (bytes > 16_000) this.world.sim.count("big body");
    const big = random.chance(0.001) ? messageBytesMax : bytes;
    const body = random.chance(0.5)
      ? filled(big, number)
      : { number, text: "ü".repeat(bytes / 2), list: [1.5, null] };
    return [messageTable.request.number, source, number, source, 3, 0, 70_000, body];
  }

  #deliver(from: KernelId, message: KernelMessage): void {
    const { sim } = this.world;
    sim.count("delivered");
    const { beacon, data, request } = messageTable;
    const lane: Lane = message[0] === beacon.number ? "loose" : message[0] === data.number ? "bulk" : "calls";
    const number = message[lane === "loose" ? 1 : 2] as number;
    const key = `${from} ${lane}`;
    const last = this.received.get(key) ?? 0;
    const right = lane === "loose" ? number > last : number === last + 1;
    if (!right) this.world.fail(`kernel ${this.id} got ${lane} ${number} of ${from} after ${last}`);
    this.received.set(key, number);
    if (!this.proxies.peers.has(from))
      this.world.fail(`kernel ${this.id} got a message of ${from}, which has gone`);
    const content =
      message[0] === data.number ? message[4] : message[0] === request.number ? message[7] : null;
    if (content instanceof Uint8Array) this.#check(content, number);
    else if (content !== null && (content as { number: number }).number !== number)
      this.world.fail("another's body");
  }

  #check(bytes: Uint8Array, number: number): void {
    const wrong = bytes.length > 0 && (bytes[0] !== number % 251 || bytes.at(-1) !== number % 251);
    if (wrong) this.world.fail(`message ${number} came with the bytes of another`);
  }
}

function filled(length: number, number: number): Uint8Array {
  return new Uint8Array(length).fill(number % 251);
}

/** Keys are not what is simulated; that proofs cover what they should, is. */
const authenticator: Authenticator = {
  binding: new Uint8Array(64),
  refuses: () => null,
  prove: (transcript) => checksum(transcript),
  verify: (transcript, proof) => checksum(transcript).every((byte, i) => byte === proof[i]),
};

function checksum(bytes: Uint8Array): Uint8Array {
  let sum = 0x811c9dc5;
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 0x01000193);
  return Uint8Array.of(sum >>> 24, sum >>> 16, sum >>> 8, sum);
}
