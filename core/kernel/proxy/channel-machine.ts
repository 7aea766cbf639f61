/**
 * One of the two lanes between a pair of kernels: messages in order and each once, over one connection after another.
 * Pure machine.
 *
 * Both kernels dial while they have no connection, so that one reachable direction is enough. When two connections
 * meet, the dial of the kernel with the lower number stands. Which of two is younger is told by the dialler's count
 * of attempts, and by `seen`: the acceptor's last dial that the dialler had taken. Whatever the rule decides, nothing
 * is lost or doubled, since frames are counted and kept until acknowledged: it only keeps both from changing for ever.
 */
import {
  ackBytesMax,
  ackFramesMax,
  linkBytesHigh,
  linkFramesHigh,
  linkRedialMaxMs,
  linkRedialMinMs,
  linkSecondDialMs,
} from "../../limits.ts";
import type { KernelMessage } from "../messages.ts";
import type { Member } from "../view.ts";
import { Connection } from "./connection-machine.ts";
import { decodeMessage } from "./decode.ts";
import { encodeLoose } from "./encode-loose.ts";
import { ackFrameBytes, readUint32, writeAck } from "./frame.ts";
import {
  type ChannelName,
  channels,
  type Farewell,
  type Hello,
  type Refusal,
  type Welcome,
} from "./link-messages.ts";
import { Malformed } from "./malformed.ts";
import { Outbox } from "./outbox.ts";
import type { ProxiesMachine } from "./proxies-machine.ts";
import { type WireRow, wireRows } from "./rows.ts";

/** Of one channel since the peer joined. */
export interface LinkCounters {
  /** Connections that were taken, and those of them that went on where another had ended. */
  links: number;
  resumes: number;
  /** Connections that ended without a bye, and those that were given up because nothing came. */
  broken: number;
  silent: number;
  /** Connections that met another one, of which one was closed. */
  duplicates: number;
  /** Frames that had come before and were dropped. */
  repeats: number;
  /** Loose messages that were dropped for want of a connection. */
  looseDropped: number;
  /** Connections on which something came that is not of the protocol. */
  defects: number;
}

const ack = new Uint8Array(ackFrameBytes);
/** An acknowledgement goes along with messages when it stands for this many. */
const ackAlong = 16;

export class Channel {
  readonly name: ChannelName;
  readonly member: Member;
  readonly outbox = new Outbox();
  readonly counters: LinkCounters = {
    links: 0,
    resumes: 0,
    broken: 0,
    silent: 0,
    duplicates: 0,
    repeats: 0,
    looseDropped: 0,
    defects: 0,
  };
  /** Messages delivered to the kernel. */
  received = 0;
  /** In the list of those that are to be flushed. */
  wanted = false;
  /** Each message leaves at once, whatever else happens in this turn. */
  eager = false;
  #moved = 0;
  /** The connection that is up. */
  link: Connection | null = null;
  #flushed = 0;
  /** What the link does not take at present. */
  #blocked = false;
  #dialling: Connection | null = null;
  /** Dials of ours, and the peer's last one that was taken. */
  #attempt = 0;
  #seen = 0;
  #dialAtMs: number;
  #backoffMs = linkRedialMinMs;
  readonly #host: ProxiesMachine;
  /** Messages that the peer has been told of, and bytes since. */
  #told = 0;
  #untoldBytes = 0;
  /** Of each number the newest. */
  readonly #loose = new Map<number, Uint8Array>();
  #high = false;
  #closed = false;

  constructor(host: ProxiesMachine, member: Member, name: ChannelName) {
    this.#host = host;
    this.member = member;
    this.name = name;
    this.#dialAtMs = host.clockMs + (this.#isLower ? 0 : linkSecondDialMs);
  }

  /** Takes it in any case. False: no new calls before `writable`. */
  transmit(row: WireRow, message: KernelMessage): boolean {
    if (this.#closed) return true;
    if (row.lossy) {
      if (this.link) this.#loose.set(row.number, encodeLoose(row, message));
      else this.counters.looseDropped++;
    } else {
      this.outbox.add(row, message);
      if (this.outbox.isHigh) this.#high = true;
    }
    if (this.link) this.#host.want(this);
    return !this.#high;
  }

  /** Whether messages came or went since it was last asked. */
  hasMoved(): boolean {
    const before = this.#moved;
    this.#moved = this.received + this.outbox.added;
    return this.#moved !== before;
  }

  /** Messages since the last flush. */
  get gathered(): number {
    return this.outbox.added - this.#flushed;
  }

  flush(): void {
    this.#flushed = this.outbox.added;
    const { link } = this;
    if (!link || this.#blocked) return;
    const wire = link.wire!;
    if (this.#loose.size > 0) {
      for (const frame of this.#loose.values()) wire.write(frame, 0, frame.length);
      this.#loose.clear();
    }
    const { outbox } = this;
    const untold = this.received - this.#told;
    const due = untold >= ackFramesMax || this.#untoldBytes >= ackBytesMax;
    if (outbox.hasUnsent) {
      const goesAlong = due || untold >= ackAlong;
      if (goesAlong) writeAck(ack, this.received);
      this.#blocked = !outbox.sendTo(wire, goesAlong ? ack : null);
      if (outbox.trailed) this.#haveTold();
      else if (due && !this.#blocked) this.#tell();
    } else if (due) this.#tell();
  }

  drained(connection: Connection): void {
    if (connection !== this.link) return;
    this.#blocked = false;
    this.flush();
  }

  tick(): void {
    this.link?.tick();
    this.#dialling?.tick();
    if (this.#closed) return;
    if (this.link) {
      if (this.received > this.#told && !this.#blocked) this.#tell();
    } else if (!this.#dialling && this.#host.clockMs >= this.#dialAtMs) this.#dial();
  }

  /** When a tick has something to do, by the host's clock; what is past: at once. */
  get dueMs(): number {
    if (this.#closed) return Infinity;
    // A handshake has a deadline, and what has come is to be acknowledged.
    if (this.#dialling || this.received > this.#told) return this.#host.clockMs;
    return this.link ? this.link.dueMs : this.#dialAtMs;
  }

  /** The peer is no more: what waits is dropped. */
  close(): void {
    this.#closed = true;
    this.link?.bye("leaving");
    this.#dialling?.destroy();
    this.outbox.clear();
    this.#loose.clear();
  }

  onMessage(bytes: Uint8Array, start: number, end: number): void {
    if (end - start < 4) throw new Malformed("a message without its number");
    // The low 32 bits of two counts that are near each other.
    const ahead = (readUint32(bytes, start) - (this.received + 1)) | 0;
    if (ahead > 0)
      throw new Malformed(`message ${this.received + 1 + ahead} instead of ${this.received + 1}`);
    this.#untoldBytes += end - start;
    if (this.received - this.#told >= ackFramesMax || this.#untoldBytes >= ackBytesMax) this.#host.want(this);
    if (ahead < 0) {
      this.counters.repeats++;
      return;
    }
    const message = decodeMessage(bytes, start + 4, end);
    this.#check(message, false);
    if (this.received++ === this.#told) this.#host.wantTick();
    this.#host.deliver(this.member.kernel, message);
  }

  onLoose(bytes: Uint8Array, start: number, end: number): void {
    const message = decodeMessage(bytes, start, end);
    this.#check(message, true);
    this.#host.deliver(this.member.kernel, message);
  }

  onAck(low: number): void {
    const { outbox } = this;
    const count = outbox.acknowledged + ((low - outbox.acknowledged) | 0);
    if (!outbox.acknowledge(count)) throw new Malformed(`an ack for ${count} of ${outbox.added} messages`);
    this.#ease();
  }

  hello(attempt: number): Hello {
    const { self, instance, protocol, protocolMin } = this.#host;
    return {
      name: "hello",
      protocol,
      protocolMin,
      instance,
      channel: channels[this.name],
      kernel: self.kernel,
      incarnation: self.incarnation,
      toKernel: this.member.kernel,
      toIncarnation: this.member.incarnation,
      attempt,
      seen: this.#seen,
      received: this.received,
      nonce: this.#host.nonce(),
    };
  }

  /** Null, or what is wrong with it. */
  judgeWelcome(welcome: Welcome): string | null {
    const { member } = this;
    if (welcome.kernel !== member.kernel || welcome.incarnation !== member.incarnation) {
      return `a welcome of kernel ${welcome.kernel}`;
    }
    const { protocol, protocolMin } = this.#host;
    if (welcome.protocol > protocol || welcome.protocol < protocolMin) {
      return `version ${welcome.protocol} of the protocol`;
    }
    return null;
  }

  /** Whether this connection may be the one, now that both sides know each other. */
  mayTake(connection: Pick<Connection, "role" | "attempt" | "seen">): boolean {
    if (this.#closed) return false;
    const { link } = this;
    if (connection.role === "dialler") return !link || link.role === "dialler" || this.#isLower;
    if (connection.attempt <= this.#seen) return false; // It has been on its way for long.
    if (!link || link.role === "acceptor") return true; // The peer only dials when it has none.
    return connection.seen >= link.attempt || !this.#isLower;
  }

  take(connection: Connection): void {
    const { link, counters } = this;
    this.link = connection;
    if (connection === this.#dialling) this.#dialling = null;
    if (connection.role === "acceptor") {
      this.#seen = connection.attempt;
      // Our own dial would not stand.
      if (!this.#isLower) this.#dialling?.destroy();
    }
    if (link) counters.duplicates++;
    link?.bye("duplicate");
    this.#backoffMs = linkRedialMinMs;
    this.#blocked = false;
    this.#told = connection.toldReceived;
    this.#untoldBytes = 0;
    // A peer that has received over another connection since says less than we know.
    if (!this.outbox.rewind(Math.max(connection.peerReceived, this.outbox.acknowledged))) {
      throw new Malformed(`${connection.peerReceived} received of ${this.outbox.added} messages`);
    }
    if (counters.links > 0) counters.resumes++;
    counters.links++;
    this.#host.linked(this);
    this.flush();
    this.#ease();
  }

  lost(connection: Connection, broken: boolean): void {
    if (broken) this.counters.broken++;
    if (connection === this.link) {
      this.link = null;
      this.counters.looseDropped += this.#loose.size;
      this.#loose.clear();
    } else if (connection === this.#dialling) {
      this.#dialling = null;
      this.#backoffMs = Math.min(2 * this.#backoffMs, linkRedialMaxMs);
    } else return;
    const delayMs = this.#host.random() * this.#backoffMs + (this.#isLower ? 0 : linkSecondDialMs);
    this.#dialAtMs = this.#host.clockMs + delayMs;
    this.#host.wantTick();
  }

  refused(refusal: Refusal, why: string): void {
    if (refusal === "busy" || refusal === "unknown") return;
    this.#backoffMs = linkRedialMaxMs;
    this.#host.report(`kernel ${this.member.kernel} refused a link (${refusal}): ${why}`);
  }

  /** The peer ends the connection in order. */
  bade(connection: Connection, farewell: Farewell): void {
    if (connection !== this.link || farewell === "duplicate") return;
    // Whether it has left, or cannot read what we send: it will be no different in a moment.
    this.#backoffMs = linkRedialMaxMs;
    if (farewell === "defect") this.#host.report(`kernel ${this.member.kernel} cannot read what we send`);
  }

  get #isLower(): boolean {
    return this.#host.self.kernel < this.member.kernel;
  }

  #dial(): void {
    this.#attempt++;
    const connection = new Connection(this.#host, { channel: this, attempt: this.#attempt });
    this.#dialling = connection;
    const wire = this.#host.dial(this.member, this.name, connection);
    if (wire) connection.wire ??= wire;
    else connection.destroy();
  }

  #haveTold(): void {
    this.#told = this.received;
    this.#untoldBytes = 0;
  }

  #tell(): void {
    this.#haveTold();
    writeAck(ack, this.received);
    this.link!.wire!.write(ack, 0, ack.length);
  }

  /** Says so when there is room again: after an ack, or a handshake that has said what an ack would have. */
  #ease(): void {
    const { bytes, added, acknowledged } = this.outbox;
    if (!this.#high || bytes > linkBytesHigh / 2 || added - acknowledged > linkFramesHigh / 2) return;
    this.#high = false;
    this.#host.writable(this.member.kernel, this.name);
  }

  #check(message: KernelMessage, lossy: boolean): void {
    const row = wireRows[message[0]]!;
    if (row.lossy !== lossy || row.bulk !== (this.name === "bulk")) {
      throw new Malformed(`${row.name} in a frame or on a connection for others`);
    }
  }
}
