/**
 * One connection, from its first byte to its last. Pure machine.
 *
 *     dialler:   opening ─open─▶ greeting ─welcome─▶ proving ─proof is good─▶ up ─▶ closed
 *     acceptor:                  greeting ──hello──▶ proving ─proof is good─▶ up ─▶ closed
 *
 * Until it is up it counts as a stranger's: small frames only, a deadline, and nothing said on it changes anything.
 */
import {
  linkHandshakeMs,
  linkPingMs,
  linkSilentMs,
  strangerFrameBytesMax,
  frameBytesMax,
} from "../../limits.ts";
import type { KernelId } from "../view.ts";
import { type Authenticator, type Role, transcriptOf } from "./authenticator.ts";
import type { Channel } from "./channel-machine.ts";
import { type FrameKind, frameHeadBytes, frameKinds, readUint32 } from "./frame.ts";
import { FrameReader, type FrameUser } from "./frame-reader.ts";
import { decodeLink, encodeLink } from "./link-codec.ts";
import {
  type Farewell,
  farewellNames,
  farewells,
  type Hello,
  type LinkMessage,
  type Refusal,
  refusalNames,
  refusals,
  type Welcome,
} from "./link-messages.ts";
import { Malformed } from "./malformed.ts";
import type { Wire, WireUser } from "./wire.ts";

/** What a connection needs of the kernel's proxies (proxies-machine.ts). */
export interface ConnectionHost {
  readonly clockMs: number;
  /** Whether the dialler that says this is somebody to welcome. */
  judge(hello: Hello, authenticator: Authenticator): Judgement;
  /** Between these two, what is transmitted is gathered. */
  cork(): void;
  uncork(): void;
  closed(connection: Connection): void;
  report(text: string): void;
}

export type Judgement =
  { channel: Channel; welcome: Welcome; refusal: null } | { refusal: Refusal; why: string };

export type ConnectionState = "opening" | "greeting" | "proving" | "up" | "closed";

export class Connection implements WireUser, FrameUser {
  state: ConnectionState;
  readonly role: Role;
  /** Number of the dial, by who dialled. */
  attempt: number;
  /** The acceptor's last dial that the dialler had taken when it said hello. */
  seen = 0;
  /** Null: an acceptor that has not been told. */
  channel: Channel | null;
  /** Set once the dial has begun. */
  wire: Wire | null = null;
  /** The version that both speak, once the welcome has said it. */
  protocol = 0;
  /** How many messages the peer has said that it has, and how many it was told that we have. */
  peerReceived = 0;
  toldReceived = 0;
  readonly #host: ConnectionHost;
  #authenticator: Authenticator | null = null;
  readonly #reader = new FrameReader(strangerFrameBytesMax);
  readonly #sinceMs: number;
  #heardMs: number;
  #pingedMs: number;
  #hello: Uint8Array | null = null;
  #welcome: Uint8Array | null = null;
  #saidBye = false;

  /** `dial` null: accepted. */
  constructor(host: ConnectionHost, dial: { channel: Channel; attempt: number } | null) {
    this.#host = host;
    this.role = dial ? "dialler" : "acceptor";
    this.channel = dial?.channel ?? null;
    this.attempt = dial?.attempt ?? 0;
    this.state = "opening";
    this.#sinceMs = host.clockMs;
    this.#heardMs = host.clockMs;
    this.#pingedMs = host.clockMs;
  }

  get isClosed(): boolean {
    return this.state === "closed";
  }

  /** The wire stands, and its peer has shown what `authenticator` knows of it. */
  open(wire: Wire, authenticator: Authenticator): void {
    if (this.state !== "opening") return;
    this.wire = wire;
    this.#authenticator = authenticator;
    this.state = "greeting";
    if (!this.channel) return;
    const refused = authenticator.refuses(this.channel.member);
    if (refused !== null) {
      this.#host.report(`refused to link to kernel ${this.channel.member.kernel}: the peer is ${refused}`);
      this.destroy();
      return;
    }
    const hello = this.channel.hello(this.attempt);
    this.toldReceived = hello.received;
    this.#hello = this.say(hello);
  }

  onData(chunk: Uint8Array): void {
    if (this.state === "closed") return;
    this.#heardMs = this.#host.clockMs;
    this.#host.cork();
    try {
      this.#reader.feed(chunk, this);
    } catch (e) {
      if (!(e instanceof Malformed)) throw e;
      this.#defect(e.message);
    } finally {
      this.#host.uncork();
    }
  }

  onDrain(): void {
    if (this.state === "up") this.channel!.drained(this);
  }

  onEnd(): void {
    // Without a bye the stream was cut: whatever else is on its way cannot be trusted to come.
    this.destroy();
  }

  onClose(): void {
    this.#end();
  }

  onFrame(kind: FrameKind, bytes: Uint8Array, start: number, end: number): boolean {
    if (kind === frameKinds.link) this.#onLink(decodeLink(bytes, start, end), bytes, start, end);
    else if (this.state !== "up") throw new Malformed("a message before the handshake is over");
    else if (kind === frameKinds.message) this.channel!.onMessage(bytes, start, end);
    else if (kind === frameKinds.loose) this.channel!.onLoose(bytes, start, end);
    else if (end - start !== 4) throw new Malformed(`an ack of ${end - start} bytes`);
    else this.channel!.onAck(readUint32(bytes, start));
    return !this.isClosed;
  }

  /** Returns the frame. */
  say(message: LinkMessage): Uint8Array {
    const frame = encodeLink(message);
    this.wire?.write(frame, 0, frame.length);
    return frame;
  }

  /** Ends it in order. */
  bye(farewell: Farewell): void {
    if (this.state === "closed") return;
    if (this.state === "opening") {
      this.destroy();
      return;
    }
    this.say({ name: "bye", farewell: farewells[farewell] });
    const { wire } = this;
    this.#end();
    wire?.close();
  }

  destroy(): void {
    const { wire } = this;
    this.#end();
    wire?.destroy();
  }

  /** When a tick has something to do. */
  get dueMs(): number {
    if (this.state !== "up") return this.#sinceMs + linkHandshakeMs;
    const silentMs = this.#heardMs + linkSilentMs;
    // Nobody is asked while something is queued.
    if (this.wire!.queued > 0) return silentMs;
    return Math.min(silentMs, Math.max(this.#heardMs, this.#pingedMs) + linkPingMs);
  }

  tick(): void {
    const { clockMs } = this.#host;
    if (this.state !== "up") {
      if (clockMs - this.#sinceMs >= linkHandshakeMs) this.destroy();
      return;
    }
    const silentMs = clockMs - this.#heardMs;
    if (silentMs >= linkSilentMs) {
      this.channel!.counters.silent++;
      this.destroy();
    } else if (silentMs >= linkPingMs && clockMs - this.#pingedMs >= linkPingMs && this.wire!.queued === 0) {
      // What is queued says more than a ping could.
      this.#pingedMs = clockMs;
      this.say({ name: "ping" });
    }
  }

  #onLink(message: LinkMessage, bytes: Uint8Array, start: number, end: number): void {
    switch (message.name) {
      case "hello":
        this.#expect(message.name, "acceptor", "greeting");
        this.#hello = bytes.slice(start, end);
        this.#onHello(message);
        return;
      case "welcome":
        this.#expect(message.name, "dialler", "greeting");
        this.#welcome = bytes.slice(start, end);
        this.#onWelcome(message);
        return;
      case "proof":
        this.#expect(message.name, this.role, "proving");
        this.#onProof(message.proof);
        return;
      case "refuse":
        this.#expect(message.name, "dialler", "greeting");
        this.channel!.refused(refusalNames[message.refusal]!, message.why);
        this.destroy();
        return;
      case "bye":
        this.#saidBye = true;
        this.channel?.bade(this, farewellNames[message.farewell]!);
        this.#close();
        return;
      case "ping":
        this.#expect(message.name, this.role, "up");
        if (this.wire!.queued === 0) this.say({ name: "pong" });
        return;
      case "pong":
        this.#expect(message.name, this.role, "up");
    }
  }

  #onHello(hello: Hello): void {
    const judgement = this.#host.judge(hello, this.#authenticator!);
    if (judgement.refusal !== null) {
      this.say({ name: "refuse", refusal: refusals[judgement.refusal], why: judgement.why });
      this.#close();
      return;
    }
    this.channel = judgement.channel;
    this.attempt = hello.attempt;
    this.seen = hello.seen;
    this.peerReceived = hello.received;
    this.toldReceived = judgement.welcome.received;
    this.protocol = judgement.welcome.protocol;
    this.#welcome = this.say(judgement.welcome).subarray(frameHeadBytes);
    this.#prove();
  }

  #onWelcome(welcome: Welcome): void {
    const refused = this.channel!.judgeWelcome(welcome);
    if (refused !== null) throw new Malformed(refused);
    this.peerReceived = welcome.received;
    this.protocol = welcome.protocol;
    this.state = "proving";
  }

  #prove(): void {
    const proof = this.#authenticator!.prove(this.#transcript(this.role));
    this.say({ name: "proof", proof });
    this.state = "proving";
  }

  #onProof(proof: Uint8Array): void {
    const other = this.role === "dialler" ? "acceptor" : "dialler";
    if (!this.#authenticator!.verify(this.#transcript(other), proof)) {
      const { kernel } = this.channel!.member;
      this.#host.report(`refused a link with kernel ${kernel}: its proof is not good`);
      this.destroy();
      return;
    }
    if (!this.channel!.mayTake(this)) {
      this.channel!.counters.duplicates++;
      this.bye("duplicate");
      return;
    }
    if (this.role === "dialler") this.#prove();
    this.state = "up";
    this.#reader.bytesMax = frameBytesMax;
    this.#hello = null;
    this.#welcome = null;
    this.channel!.take(this);
  }

  #transcript(role: Role): Uint8Array {
    const hello = this.role === "dialler" ? this.#hello!.subarray(frameHeadBytes) : this.#hello!;
    return transcriptOf(role, this.#authenticator!.binding, hello, this.#welcome!);
  }

  #expect(what: string, role: Role, state: ConnectionState): void {
    if (this.role !== role || this.state !== state) throw new Malformed(`${what} in the state ${this.state}`);
  }

  #defect(why: string): void {
    const kernel: KernelId | undefined = this.channel?.member.kernel;
    const peer = this.state === "up" ? `kernel ${kernel}` : "a stranger";
    this.#host.report(`closed a link: ${peer} has sent ${why}`);
    if (this.state === "up") this.channel!.counters.defects++;
    this.bye("defect");
  }

  /** What is queued still leaves. */
  #close(): void {
    const { wire } = this;
    this.#end();
    wire?.close();
  }

  #end(): void {
    if (this.state === "closed") return;
    const wasUp = this.state === "up";
    this.state = "closed";
    this.#host.closed(this);
    this.channel?.lost(this, wasUp && !this.#saidBye);
  }
}
