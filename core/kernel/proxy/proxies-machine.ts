/**
 * The proxies of one kernel: to each other member of the view two channels, and the connections that are not yet
 * anybody's. Pure machine: bytes, time and randomness are arguments, effects go through its sink.
 *
 *     kernel ── transmit ──▶ channel ── outbox ──▶ connection ──▶ wire          core/kernel/proxy/links.ts
 *     kernel ◀── deliver ─── channel ◀── decode ── connection ◀── wire            or the simulator
 *
 * Writing: the first message of a turn of the event loop leaves at once, those after it by the gatherFramesMax, and the
 * rest at its end (`soon`): so that the peer works on what there is while this kernel makes more.
 *
 * Frames of copies leave one by one while there are calls beside them, which so wait for one of them only; else together,
 * which moves a tenth more.
 *
 * Memory, with n peers: 2n outboxes of linkBytesHigh and the answers that are owed; 2n frames that are being read; 2n
 * blocks in the wires; strangersMax connections with strangerFrameBytesMax each.
 */
import { gatherFramesMax, linkGapMs, strangersMax } from "../../limits.ts";
import type { KernelMessage } from "../messages.ts";
import type { KernelId, Member } from "../view.ts";
import type { Authenticator } from "./authenticator.ts";
import { Channel } from "./channel-machine.ts";
import { Connection, type ConnectionHost, type Judgement } from "./connection-machine.ts";
import { type ChannelName, channelNames, type Hello } from "./link-messages.ts";
import { wireRows } from "./rows.ts";
import type { Wire } from "./wire.ts";

export interface ProxiesOptions {
  /** The instance's uid: nothing crosses instances. */
  instance: string;
  /** This kernel's, as in its record. */
  incarnation: string;
  /** Highest and lowest version of the protocol that it speaks. */
  protocol: number;
  protocolMin: number;
  nowMs: number;
  /** In [0, 1). */
  random(): number;
  /** 16 bytes that nobody can foresee. */
  nonce(): Uint8Array;
}

export interface ProxySink {
  /** A message of that kernel, for this one. The bytes of a copy are to be used before it returns. */
  deliver(from: KernelId, message: KernelMessage): void;
  /** Transmit said no for a message of that channel, and there is room again. */
  writable(kernel: KernelId, channel: ChannelName): void;
  /**
   * Begins to connect. `connection.open` is to be called when the wire stands, then it is the wire's user. The wire
   * can be destroyed before. Null: there is no way to that member.
   */
  dial(member: Member, channel: ChannelName, connection: Connection): Wire | null;
  /** `flush` is to be called at the end of this turn of the event loop. */
  soon(): void;
  /** Something has come, and is about to be delivered: the first in this turn of the event loop, perhaps. */
  woken?(): void;
  /** A deadline has been set: the next tick is to come within linkTickMs. Not needed where there is one that often. */
  wantTick?(): void;
  /** For people: somebody was refused, or does not keep to the protocol. */
  report(text: string): void;
  /** A channel has a connection again, or for the first time. */
  linked?(kernel: KernelId, channel: ChannelName): void;
}

export interface Proxy {
  readonly member: Member;
  readonly calls: Channel;
  readonly bulk: Channel;
}

export class ProxiesMachine implements ConnectionHost {
  readonly instance: string;
  readonly protocol: number;
  readonly protocolMin: number;
  /** `kernel` is 0 until it has read that it has joined: nobody is welcome before. */
  readonly self: { kernel: KernelId; incarnation: string };
  /** Time that this host process was awake: its own stops are nobody's silence. */
  clockMs = 0;
  readonly peers = new Map<KernelId, Proxy>();
  readonly #sink: ProxySink;
  readonly #options: ProxiesOptions;
  readonly #strangers = new Set<Connection>();
  #nowMs: number;
  #wanted: Channel[] = [];
  #corked = false;
  #soon = false;

  constructor(sink: ProxySink, options: ProxiesOptions) {
    this.#sink = sink;
    this.#options = options;
    this.#nowMs = options.nowMs;
    this.instance = options.instance;
    this.protocol = options.protocol;
    this.protocolMin = options.protocolMin;
    this.self = { kernel: 0, incarnation: options.incarnation };
  }

  /** This kernel has joined under this number. */
  join(kernel: KernelId): void {
    this.self.kernel = kernel;
  }

  /** The view has a member. */
  add(member: Member): void {
    if (member.kernel === this.self.kernel || this.peers.has(member.kernel)) return;
    this.peers.set(member.kernel, {
      member,
      calls: new Channel(this, member, "calls"),
      bulk: new Channel(this, member, "bulk"),
    });
    this.wantTick();
  }

  /** The view no longer has it: its connections are closed, and what waits for it is dropped. */
  remove(kernel: KernelId): void {
    const peer = this.peers.get(kernel);
    if (!peer) return;
    this.peers.delete(kernel);
    for (const name of channelNames) peer[name].close();
  }

  /** This kernel ends. */
  close(): void {
    for (const kernel of [...this.peers.keys()]) this.remove(kernel);
    for (const stranger of [...this.#strangers]) stranger.destroy();
    this.self.kernel = 0;
  }

  /**
   * Takes the message in any case; without such a peer it is dropped, since the view has said what becomes of its
   * calls. False: no new call is to follow before `sink.writable(kernel)`.
   */
  transmit(kernel: KernelId, message: KernelMessage): boolean {
    const peer = this.peers.get(kernel);
    if (!peer) return true;
    const row = wireRows[message[0]]!;
    return (row.bulk ? peer.bulk : peer.calls).transmit(row, message);
  }

  /** The user of a wire that somebody has opened to this kernel; null: there are too many, it is to be destroyed. */
  accept(wire: Wire, authenticator: Authenticator): Connection | null {
    if (this.#strangers.size >= strangersMax) return null;
    const connection = new Connection(this, null);
    this.#strangers.add(connection);
    this.wantTick();
    connection.open(wire, authenticator);
    return connection;
  }

  /** Writes what has gathered. */
  flush(): void {
    this.#soon = false;
    const wanted = this.#wanted;
    if (wanted.length === 0) return;
    this.#wanted = [];
    for (const channel of wanted) {
      channel.wanted = false;
      channel.flush();
    }
  }

  /**
   * When something is due (`dueInMs`, `sink.wantTick`), and at least each linkIdleTickMs. `nowMs` by any clock that does
   * not run backwards.
   */
  tick(nowMs: number): void {
    this.look(nowMs);
    for (const stranger of this.#strangers) stranger.tick();
    for (const peer of this.peers.values()) {
      peer.bulk.eager = peer.calls.hasMoved();
      peer.calls.tick();
      peer.bulk.tick();
    }
  }

  /** Time has come this far; what is due has to wait for the tick. */
  look(nowMs: number): void {
    this.clockMs += Math.min(Math.max(0, nowMs - this.#nowMs), linkGapMs);
    this.#nowMs = nowMs;
  }

  /** Milliseconds from when it was last told the time until something is due; Infinity: nothing. */
  get dueInMs(): number {
    if (this.#strangers.size > 0) return 0;
    let dueMs = Infinity;
    for (const { calls, bulk } of this.peers.values()) dueMs = Math.min(dueMs, calls.dueMs, bulk.dueMs);
    return dueMs - this.clockMs;
  }

  // For channels and connections.

  wantTick(): void {
    this.#sink.wantTick?.();
  }

  want(channel: Channel): void {
    if (channel.wanted) {
      if (channel.eager || (!this.#corked && channel.gathered >= gatherFramesMax)) channel.flush();
      return;
    }
    channel.wanted = true;
    this.#wanted.push(channel);
    if (!this.#soon) {
      this.#soon = true;
      this.#sink.soon();
    }
    if (!this.#corked || channel.eager) channel.flush();
  }

  cork(): void {
    this.#corked = true;
    this.#sink.woken?.();
  }

  uncork(): void {
    this.#corked = false;
    for (const channel of this.#wanted) channel.flush();
  }

  judge(hello: Hello, authenticator: Authenticator): Judgement {
    const { self } = this;
    const refuse = (refusal: Exclude<Judgement["refusal"], null>, why: string): Judgement => ({
      refusal,
      why,
    });
    if (hello.instance !== this.instance) return refuse("stranger", "another instance");
    if (self.kernel === 0) return refuse("unknown", "this kernel has not joined yet");
    if (hello.toKernel !== self.kernel || hello.toIncarnation !== self.incarnation) {
      return refuse("stranger", `this is kernel ${self.kernel}, ${self.incarnation}`);
    }
    const peer = this.peers.get(hello.kernel);
    if (!peer) return refuse("unknown", `kernel ${hello.kernel} is not in the view`);
    if (peer.member.incarnation !== hello.incarnation) return refuse("identity", "another incarnation");
    const protocol = Math.min(hello.protocol, this.protocol);
    if (protocol < Math.max(hello.protocolMin, this.protocolMin)) {
      return refuse("version", `this kernel speaks ${this.protocolMin} to ${this.protocol}`);
    }
    const refused = authenticator.refuses(peer.member);
    if (refused !== null) {
      this.report(`refused a link with kernel ${hello.kernel}: the peer is ${refused}`);
      return refuse("identity", `you are ${refused}`);
    }
    const channel = peer[channelNames[hello.channel]!];
    if (!channel.mayTake({ role: "acceptor", attempt: hello.attempt, seen: hello.seen })) {
      return refuse("busy", "another connection stands");
    }
    return {
      channel,
      refusal: null,
      welcome: {
        name: "welcome",
        protocol,
        kernel: self.kernel,
        incarnation: self.incarnation,
        received: channel.received,
        nonce: this.nonce(),
      },
    };
  }

  deliver(from: KernelId, message: KernelMessage): void {
    this.#sink.deliver(from, message);
  }
  writable(kernel: KernelId, channel: ChannelName): void {
    this.#sink.writable(kernel, channel);
  }
  dial(member: Member, channel: ChannelName, connection: Connection): Wire | null {
    return this.#sink.dial(member, channel, connection);
  }
  linked(channel: Channel): void {
    this.#strangers.delete(channel.link!);
    this.#sink.linked?.(channel.member.kernel, channel.name);
  }
  closed(connection: Connection): void {
    this.#strangers.delete(connection);
  }
  report(text: string): void {
    this.#sink.report(text);
  }
  random(): number {
    return this.#options.random();
  }
  nonce(): Uint8Array {
    return this.#options.nonce();
  }
}
