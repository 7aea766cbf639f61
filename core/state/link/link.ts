/**
 * A link between two host processes of an instance that carries messages of its OS state: replicas among each other,
 * containers with replicas. It is in order and whole until it breaks, and then nothing is resumed: whoever uses it
 * sends again what was not acknowledged. What is sent in one turn of the event loop leaves as one write.
 */
import { Malformed } from "../../kernel/proxy/malformed.ts";
import {
  stateClientSilentMs,
  stateFrameBytesMax,
  stateHandshakeMs,
  stateQueueBytesMax,
  stateSilentMs,
} from "../../limits.ts";
import type { Stream, StreamUser } from "../../platform/tcp.ts";
import { encodeFrame, encodeParts, type Fields, FrameSplitter, ownWriteBytes } from "./frames.ts";
import {
  firstMessageNumber,
  type Hello,
  helloFields,
  isProved,
  linkNumbers,
  prove,
  readHello,
  readProof,
  readWelcome,
  stateProtocol,
  stateProtocolMin,
  type Welcome,
  welcomeFields,
} from "./handshake.ts";

export interface Peer {
  role: "replica" | "client";
  node: string;
  /** Of a client empty. */
  disk: string;
  incarnation: string;
  /** The version that both speak. */
  protocol: number;
}

export interface LinkUser {
  onOpen(link: Link): void;
  /** Throws Malformed to break the link. */
  onMessage(fields: Fields, link: Link): void;
  /** Once, whatever the reason; also where it was never open. */
  onClose(why: string, link: Link): void;
}

/** What both ends have to know of each other. */
export interface LinkTerms {
  /** Uid of the instance. */
  instance: string;
  node: string;
  incarnation: string;
  /** Of this replica; empty for a client. */
  disk: string;
  /** What a peer of the same node proves itself by; null on a stream whose TLS has told the peer's node. */
  secret: Uint8Array | null;
  /** Node of the peer's certificate, null on a Unix socket. */
  peerNode: string | null;
  nonce: () => Uint8Array;
}

/** The first frame comes from a stranger. */
const strangerBytesMax = 4_096;

export class Link implements StreamUser {
  peer: Peer | null = null;
  readonly #user: LinkUser;
  readonly #terms: LinkTerms;
  readonly #splitter = new FrameSplitter(strangerBytesMax);
  readonly #dials: { role: "replica" | "client"; toDisk: string } | null;
  /** Judges a hello: null, or why it is refused. */
  readonly #judge: (hello: Hello) => string | null;
  #stream: Stream | null = null;
  #hello: Hello | null = null;
  #welcome: Welcome | null = null;
  #frames: Uint8Array[] = [];
  #closed = false;
  #heard = false;
  #asked = false;
  #timer: ReturnType<typeof setTimeout>;
  #why = "";

  private constructor(
    terms: LinkTerms,
    user: LinkUser,
    dials: { role: "replica" | "client"; toDisk: string } | null,
    judge: (hello: Hello) => string | null,
  ) {
    this.#terms = terms;
    this.#user = user;
    this.#dials = dials;
    this.#judge = judge;
    this.#timer = setTimeout(() => this.destroy("no handshake within the time for it"), stateHandshakeMs);
  }

  /** Of a stream that somebody else has opened. */
  static accepting(
    stream: Stream,
    terms: LinkTerms,
    user: LinkUser,
    judge: (hello: Hello) => string | null,
  ): Link {
    const link = new Link(terms, user, null, judge);
    link.#stream = stream;
    return link;
  }

  /** `attach` the stream, and `onOpen` of it begins the handshake. */
  static dialling(terms: LinkTerms, user: LinkUser, role: "replica" | "client", toDisk: string): Link {
    return new Link(terms, user, { role, toDisk }, () => null);
  }

  attach(stream: Stream): void {
    this.#stream = stream;
  }

  get isOpen(): boolean {
    return this.peer !== null && !this.#closed;
  }

  /** Bytes that the system has not taken yet. */
  get queued(): number {
    return this.#stream?.queued ?? 0;
  }

  /**
   * `fields[0]` is a number from firstMessageNumber on. Bytes at its end must not change before the turn is over.
   * Nothing happens on a link that is not open.
   */
  send(fields: Fields): void {
    if (!this.isOpen) return;
    for (const part of encodeParts(fields)) this.#push(part);
  }

  /** In order: what was sent before still arrives. */
  close(): void {
    if (this.#closed) return;
    if (this.peer) this.#push(encodeFrame([linkNumbers.bye]));
    this.#flush();
    this.#why ||= "closed";
    this.#stream?.close();
    this.#end();
  }

  destroy(why: string): void {
    if (this.#closed) return;
    this.#why ||= why;
    this.#stream?.destroy();
    this.#end();
  }

  onOpen(): void {
    const { instance, node, incarnation, disk, nonce } = this.#terms;
    const { role, toDisk } = this.#dials!;
    const versions = { protocol: stateProtocol, protocolMin: stateProtocolMin };
    this.#hello = { ...versions, instance, role, node, disk, incarnation, toDisk, nonce: nonce() };
    this.#push(encodeFrame(helloFields(this.#hello)));
  }

  onData(chunk: Buffer): void {
    this.#heard = true;
    try {
      this.#splitter.feed(chunk, (fields) => this.#onFields(fields));
    } catch (e) {
      if (!(e instanceof Malformed)) throw e;
      this.destroy(`the peer sent ${e.message}`);
    }
  }

  onDrain(): void {}

  onEnd(): void {
    this.destroy("the peer has ended it without a word");
  }

  onClose(failure: { code: string; message: string } | null): void {
    this.#why ||= failure?.message ?? "the connection has ended";
    this.#end();
  }

  #onFields(fields: Fields): boolean {
    if (this.#closed) return false;
    const number = fields[0] as number;
    if (this.peer) {
      if (number >= firstMessageNumber) this.#user.onMessage(fields, this);
      else if (number === linkNumbers.ping) this.#push(encodeFrame([linkNumbers.pong]));
      else if (number === linkNumbers.bye) this.destroy("the peer has said bye");
      else if (number !== linkNumbers.pong) throw new Malformed(`message ${number} on an open link`);
    } else if (number === linkNumbers.refuse) {
      this.destroy(`refused: ${String(fields[1]).slice(0, 200)}`);
    } else if (this.#dials) this.#onWelcome(fields);
    else if (!this.#hello) this.#onHello(fields);
    else this.#onProof(fields);
    return !this.#closed;
  }

  #onHello(fields: Fields): void {
    const hello = readHello(fields);
    const { instance, disk, node, incarnation, secret, peerNode, nonce } = this.#terms;
    const why =
      hello.instance !== instance
        ? `this is instance ${instance}`
        : hello.toDisk !== "" && hello.toDisk !== disk
          ? `this is replica ${disk}`
          : peerNode !== null && hello.node !== peerNode
            ? `its certificate is of node ${peerNode}`
            : peerNode === null && hello.node !== node
              ? `only host processes of node ${node} come this way`
              : versionOf(hello) === 0
                ? `no common version: ${stateProtocolMin} to ${stateProtocol} are spoken here`
                : this.#judge(hello);
    if (why !== null) {
      this.#push(encodeFrame([linkNumbers.refuse, why]));
      this.#flush();
      this.#stream!.close();
      this.#why = `refused: ${why}`;
      this.#end();
      return;
    }
    this.#hello = hello;
    this.#welcome = { protocol: versionOf(hello), node, disk, incarnation, nonce: nonce() };
    const proved = secret ? prove(secret, "acceptor", hello, this.#welcome) : new Uint8Array();
    this.#push(encodeFrame(welcomeFields(this.#welcome, proved)));
  }

  #onWelcome(fields: Fields): void {
    const { welcome, proof } = readWelcome(fields);
    const { secret, peerNode } = this.#terms;
    const hello = this.#hello!;
    if (this.#dials!.toDisk !== "" && welcome.disk !== this.#dials!.toDisk) {
      throw new Malformed(`a welcome of replica ${welcome.disk}`);
    }
    if (peerNode !== null && welcome.node !== peerNode) throw new Malformed("a welcome of another node");
    if (welcome.protocol < stateProtocolMin || welcome.protocol > stateProtocol) {
      throw new Malformed(`a welcome in version ${welcome.protocol}`);
    }
    if (secret && !isProved(proof, prove(secret, "acceptor", hello, welcome))) {
      throw new Malformed("a proof without the instance's secret");
    }
    const own = secret ? prove(secret, "dialler", hello, welcome) : new Uint8Array();
    this.#push(encodeFrame([linkNumbers.proof, own]));
    const { node, disk, incarnation, protocol } = welcome;
    this.#open({ role: "replica", node, disk, incarnation, protocol });
  }

  #onProof(fields: Fields): void {
    const proof = readProof(fields);
    const { secret } = this.#terms;
    const hello = this.#hello!;
    if (secret && !isProved(proof, prove(secret, "dialler", hello, this.#welcome!))) {
      throw new Malformed("a proof without the instance's secret");
    }
    const { role, node, disk, incarnation } = hello;
    this.#open({ role, node, disk, incarnation, protocol: this.#welcome!.protocol });
  }

  #open(peer: Peer): void {
    this.peer = peer;
    this.#splitter.bytesMax = stateFrameBytesMax;
    clearTimeout(this.#timer);
    this.#listen();
    this.#user.onOpen(this);
  }

  /** Asks for a sign of life after a silence, and breaks a link that gives none. */
  #listen(): void {
    this.#timer = setTimeout(
      () => {
        if (!this.#heard && this.#asked) return this.destroy("the peer is silent");
        this.#asked = !this.#heard;
        if (this.#asked) this.#push(encodeFrame([linkNumbers.ping]));
        this.#heard = false;
        this.#listen();
      },
      this.#dials?.role === "client" ? stateClientSilentMs : stateSilentMs,
    );
  }

  #push(frame: Uint8Array): void {
    if (this.#frames.push(frame) === 1) queueMicrotask(this.#flush);
  }

  readonly #flush = (): void => {
    const frames = this.#frames;
    if (frames.length === 0 || !this.#stream) return;
    this.#frames = [];
    let from = 0;
    for (const [i, frame] of frames.entries()) {
      if (frame.length < ownWriteBytes) continue;
      this.#write(frames.slice(from, i));
      this.#write([frame]);
      from = i + 1;
    }
    this.#write(from === 0 ? frames : frames.slice(from));
    if (this.#stream.queued > stateQueueBytesMax) this.destroy("the peer takes nothing");
  };

  #write(frames: Uint8Array[]): void {
    if (frames.length === 0) return;
    const bytes = frames.length === 1 ? frames[0]! : Buffer.concat(frames);
    this.#stream!.write(bytes, 0, bytes.length);
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#frames = [];
    this.#user.onClose(this.#why, this);
  }
}

/** 0: none. */
function versionOf({ protocol, protocolMin }: Hello): number {
  const common = Math.min(protocol, stateProtocol);
  return common >= Math.max(protocolMin, stateProtocolMin) ? common : 0;
}
