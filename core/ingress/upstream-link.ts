/** One connection to an upstream: either idle in its pool, or carrying one exchange. */
import { type Stream, type StreamFailure, type StreamUser } from "../platform/tcp.ts";
import type { Upstream } from "./upstream.ts";

/** What a link tells the exchange on it. */
export interface LinkUser {
  linkOpened(): void;
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
  /** It carried a request before this one. */
  reused = false;
  idleSince = 0;

  constructor(upstream: Upstream) {
    this.upstream = upstream;
  }

  /** Ends it while nothing is under way on it. */
  discard(): void {
    this.exchange = null;
    this.upstream.forget(this);
    this.#leave();
    this.stream.close();
  }

  /** Ends it at once: what is under way is lost. */
  abandon(): void {
    this.exchange = null;
    this.upstream.forget(this);
    this.#leave();
    this.stream.destroy();
  }

  /** No event of the stream is of interest from now on. */
  #leave(): void {
    this.stream.user = ended;
  }

  onOpen(): void {
    this.open = true;
    this.exchange?.linkOpened();
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
    this.discard();
    this.upstream.onTrouble(this.upstream, "", false);
  }

  onClose(failure: StreamFailure | null): void {
    const { exchange, upstream } = this;
    this.exchange = null;
    upstream.forget(this);
    if (exchange) exchange.linkClosed(failure);
    else upstream.onTrouble(upstream, failure?.message ?? "", false);
  }
}

const ended: StreamUser = { onOpen() {}, onData() {}, onDrain() {}, onEnd() {}, onClose() {} };
