/** One connection to an upstream: being established, idle in its pool, or carrying one exchange. */
import { type Stream, type StreamFailure, type StreamUser } from "../platform/tcp.ts";
import type { Upstream } from "./upstream.ts";

/** What a link tells the exchange on it. */
export interface LinkUser {
  linkData(chunk: Buffer): void;
  linkDrained(): void;
  /** The upstream will send nothing more. */
  linkEnded(): void;
  /** Also after linkEnded, unless the link was given up before. */
  linkClosed(failure: StreamFailure | null): void;
  /** Probes call the upstream failed; `last`: for so long that nobody waits any more. */
  upstreamFailed(reason: string, last: boolean): void;
}

export class UpstreamLink implements StreamUser {
  readonly upstream: Upstream;
  /** Set right after the construction: a stream needs its user first. */
  stream!: Stream;
  exchange: LinkUser | null = null;
  open = false;
  /** It has carried a request; `reused`: before the one under way. */
  served = false;
  reused = false;
  /** It belongs to nobody's grammar any more, and may last. */
  tunnel = false;
  idleSince = 0;
  /** When it counts as refused, while it is being established; moved by what our own loop was late. */
  connectDeadline = 0;

  constructor(upstream: Upstream) {
    this.upstream = upstream;
  }

  /** Ends it while nothing is under way on it. */
  discard(): void {
    this.exchange = null;
    this.#leave();
    this.stream.close();
    this.upstream.forget(this);
  }

  /** Ends it at once: what is under way is lost. */
  abandon(): void {
    this.exchange = null;
    this.#leave();
    this.stream.destroy();
    this.upstream.forget(this);
  }

  /** No event of the stream is of interest from now on. */
  #leave(): void {
    this.stream.user = ended;
  }

  onOpen(): void {
    this.open = true;
    this.upstream.linkOpened(this);
  }

  onData(chunk: Buffer): void {
    if (this.exchange) this.exchange.linkData(chunk);
    // Bytes that nobody asked for: an answer to what? Not to the next request, certainly.
    else this.abandon();
  }

  onDrain(): void {
    this.exchange?.linkDrained();
  }

  onEnd(): void {
    if (this.exchange) {
      this.exchange.linkEnded();
      return;
    }
    if (!this.open) {
      this.#leave();
      this.stream.destroy();
      this.upstream.linkFailed(this, null);
      return;
    }
    this.discard();
    this.upstream.idleClosed();
  }

  onClose(failure: StreamFailure | null): void {
    const { exchange, upstream } = this;
    this.exchange = null;
    if (!this.open) {
      upstream.linkFailed(this, failure);
      return;
    }
    upstream.forget(this);
    if (exchange) exchange.linkClosed(failure);
    else upstream.idleClosed();
  }
}

const ended: StreamUser = { onOpen() {}, onData() {}, onDrain() {}, onEnd() {}, onClose() {} };
