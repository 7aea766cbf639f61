/**
 * One request and its response: chooses an upstream, sends the request to it, tries once more elsewhere where that
 * is safe, and relays the response. Its client is a connection that has one exchange at a time.
 *
 * The request's bytes are collected in `out` as they leave: first what came with the head, so that a small request
 * is one write, and for idempotent requests everything up to replayBodyBytesMax, so that it can be sent again.
 */
import type { StreamFailure } from "../platform/tcp.ts";
import { replayBodyBytesMax } from "../limits.ts";
import { choose } from "./balancing-machine.ts";
import type { ByteWriter } from "./http/byte-writer.ts";
import { ChunkedScanner } from "./http/chunked.ts";
import type { Method, RequestHead } from "./http/request-head.ts";
import { tunnelKeepAliveMs, unsafeMethodIdleMs, upstreamIdleMs } from "./ingress-limits.ts";
import { ResponseRelay, type RelayOwner } from "./response-relay.ts";
import { isIdempotent, whyNotRetry } from "./retry-machine.ts";
import type { RoutedPort } from "./routed-port.ts";
import type { UpstreamLink, LinkUser } from "./upstream-link.ts";
import type { Upstream } from "./upstream.ts";

export interface ExchangeClient {
  /** False: the client is slow, wait for exchange.clientDrained(). */
  write(bytes: Buffer, start: number, end: number): boolean;
  /** Bytes that takeBody() left over can be offered again. */
  wantBody(): void;
  /** From now on the connection may be silent for as long as it likes. */
  tunnelStarts(): void;
  /** Stop or go on reading from the client. */
  pauseForUpstream(paused: boolean): void;
  /** The exchange is over. `keepAlive`: the client's connection stands right before its next request. */
  exchangeEnded(keepAlive: boolean): void;
  /** The exchange is over, and the client must not take what it got for a whole response. */
  exchangeBroken(): void;
  /** Answer with a response of ingress's own; the exchange is over. */
  exchangeRefused(status: number, reason: string, keepAlive: boolean): void;
}

export class Exchange implements LinkUser, RelayOwner {
  readonly #port: RoutedPort;
  readonly #client: ExchangeClient;
  readonly #out: ByteWriter;
  readonly #headBytes: number;
  readonly method: Method;
  readonly minorVersion: number;
  readonly websocket: boolean;
  readonly #wantsKeepAlive: boolean;
  readonly startedAt: number;

  // The request
  /** Bytes of its body still to come, when Content-Length says so. */
  #bodyLeft: number;
  readonly #scanner: ChunkedScanner | null;
  requestComplete: boolean;
  /** `#out` holds everything that came so far. */
  #kept = true;

  // The attempt
  #attempts = 0;
  #link: UpstreamLink | null = null;
  #upstream: Upstream | null = null;
  #written = false;
  #attemptAt = 0;

  // The response
  #relay: ResponseRelay;
  #responded = false;
  #interim = false;
  #delimited = false;
  tunnel = false;
  #ended = false;

  /** `out` holds the request's head as the upstream is to get it. */
  constructor(port: RoutedPort, client: ExchangeClient, out: ByteWriter, head: RequestHead, nowMs: number) {
    this.#port = port;
    this.#client = client;
    this.#out = out;
    this.#headBytes = out.length;
    this.method = head.method;
    this.minorVersion = head.minorVersion;
    this.websocket = head.websocket;
    this.#wantsKeepAlive = head.keepAlive;
    this.#bodyLeft = Math.max(0, head.framing.length);
    this.#scanner = head.framing.chunked ? new ChunkedScanner() : null;
    this.requestComplete = !head.hasBody;
    this.startedAt = nowMs;
    this.#relay = new ResponseRelay(this);
  }

  get keepAlive(): boolean {
    return this.#wantsKeepAlive && this.requestComplete && this.#port.open;
  }

  /** Bytes of the final response have gone to the client. */
  get responded(): boolean {
    return this.#responded;
  }

  /** When a connection is being waited for: since when. Else null. */
  get connectingSince(): number | null {
    return this.#link && !this.#link.open ? this.#attemptAt : null;
  }

  start(): void {
    this.#port.budget.earn();
    this.#port.counters.requests++;
    this.#attempt(null);
  }

  // ---- from the client

  /**
   * Offers bytes[start, end) of the request. Returns where those end that it took; -1 when they are malformed, and
   * then the exchange is over.
   */
  takeBody(bytes: Buffer, start: number, end: number): number {
    if (this.requestComplete || this.#ended) return start;
    const room = replayBodyBytesMax - (this.#out.length - this.#headBytes);
    const sending = this.#link !== null && this.#written;
    const stop = sending ? end : Math.min(end, start + room);
    if (stop === start) return start;
    const at = this.#frame(bytes, start, stop);
    if (at < 0) {
      this.#refuse(400, this.#scanner!.refusal);
      return -1;
    }
    if (this.#kept && at - start <= room && (isIdempotent(this.method) || !sending)) {
      const from = this.#out.length;
      this.#out.append(bytes, start, at);
      if (sending) this.#send(this.#out.buffer, from, this.#out.length);
    } else {
      this.#kept = false;
      this.#send(bytes, start, at);
    }
    return at;
  }

  #frame(bytes: Buffer, start: number, end: number): number {
    if (this.#scanner) {
      const at = this.#scanner.scan(bytes, start, end, null);
      this.requestComplete = this.#scanner.done;
      return at;
    }
    const n = Math.min(this.#bodyLeft, end - start);
    this.#bodyLeft -= n;
    this.requestComplete = this.#bodyLeft === 0;
    return start + n;
  }

  #send(bytes: Buffer, start: number, end: number): void {
    if (!this.#link!.stream.write(bytes, start, end)) this.#client.pauseForUpstream(true);
  }

  clientDrained(): void {
    this.#link?.stream.resume();
  }

  /** Nobody waits for the response any more. */
  clientGone(): void {
    if (this.#ended) return;
    this.#ended = true;
    // What a tunnel's client sent before it went is for the upstream to get.
    if (this.tunnel) this.#link?.discard();
    else this.#link?.abandon();
    this.#link = null;
  }

  /** The client's FIN, or bytes, while this is a tunnel. */
  tunnelEnd(): void {
    this.#link?.stream.end();
  }

  tunnelData(bytes: Buffer): void {
    this.#send(bytes, 0, bytes.length);
  }

  // ---- attempts

  #attempt(failed: Upstream | null): void {
    const port = this.#port;
    const upstream =
      choose(port.upstreams, port.turn, (u) => u === failed) ??
      // The only one there is, if it was just an old connection that had died.
      (failed !== null && this.#link?.reused && !failed.removed ? failed : null);
    if (upstream === null) {
      this.#link = null;
      port.counters.failures++;
      if (failed === null) this.#refuse(503, port.nothingReason);
      else {
        const reason = `${failed.description} failed: ${failed.health.reason}; there is no other`;
        this.#refuse(this.#written ? 502 : 503, reason);
      }
      return;
    }
    const nowMs = port.now();
    const idleMsMax = upstream === failed ? -1 : isUnsafe(this.method) ? unsafeMethodIdleMs : upstreamIdleMs;
    const link = upstream.take(idleMsMax, nowMs);
    if (link === null) {
      port.counters.failures++;
      this.#refuse(503, `${upstream.description} has as many connections as it may have`);
      return;
    }
    if (this.#attempts > 0) port.counters.retries++;
    this.#attempts++;
    this.#attemptAt = nowMs;
    this.#upstream = upstream;
    this.#link = link;
    this.#written = false;
    link.exchange = this;
    upstream.requests++;
    if (link.open) this.linkOpened();
  }

  linkOpened(): void {
    this.#written = true;
    this.#send(this.#out.buffer, 0, this.#out.length);
    if (!this.requestComplete) this.#client.wantBody();
  }

  linkDrained(): void {
    this.#client.pauseForUpstream(false);
  }

  linkData(chunk: Buffer): void {
    if (!this.tunnel) this.#relay.onData(chunk);
    else this.toClient(chunk, 0, chunk.length);
  }

  linkEnded(): void {
    if (this.tunnel) {
      this.#client.exchangeEnded(false);
    } else if (this.#relay.endsWithConnection) this.responseEnds(false);
    else this.#linkFailed("it closed the connection");
  }

  linkClosed(failure: StreamFailure | null): void {
    if (this.#ended) return;
    if (this.tunnel) {
      this.#link = null;
      this.#ended = true;
      if (failure) this.#client.exchangeBroken();
      else this.#client.exchangeEnded(false);
    } else if (this.#relay.endsWithConnection && !failure) this.responseEnds(false);
    else this.#linkFailed(failure ? failure.code || failure.message : "it closed the connection");
  }

  #linkFailed(reason: string): void {
    const upstream = this.#upstream!;
    upstream.onTrouble(upstream, reason, true);
    this.#retryOr(reason);
  }

  /** The connection did not come about in time. */
  connectTimedOut(): void {
    this.#linkFailed("it did not accept a connection in time");
  }

  /** Probes call the upstream failed. `last`: it has been so for so long that nobody waits any more. */
  upstreamFailed(reason: string, last: boolean): void {
    if (this.#ended || this.tunnel) {
      if (this.tunnel && last) this.#breakOff();
      return;
    }
    const another = this.#port.upstreams.some((u) => u !== this.#upstream && isUsable(u));
    if ((another && this.#whyNotRetry() === null) || last) this.#retryOr(reason);
  }

  #whyNotRetry(): string | null {
    return whyNotRetry({
      method: this.method,
      attempts: this.#attempts,
      responded: this.#responded || this.#interim,
      written: this.#written,
      kept: this.#kept,
    });
  }

  #retryOr(reason: string): void {
    const { counters, budget } = this.#port;
    const failed = this.#upstream!;
    let whyNot = this.#whyNotRetry();
    if (whyNot === null && !budget.spend(this.#port.now())) whyNot = "too many requests are being retried";
    this.#link?.abandon();
    if (whyNot === null) {
      this.#relay = new ResponseRelay(this);
      this.#client.pauseForUpstream(false);
      this.#attempt(failed);
      return;
    }
    this.#link = null;
    counters.failures++;
    if (this.#responded) this.#breakOff();
    else this.#refuse(502, `${failed.description} failed: ${reason}; ${whyNot}`);
  }

  #breakOff(): void {
    this.#ended = true;
    this.#link?.abandon();
    this.#link = null;
    this.#client.exchangeBroken();
  }

  #refuse(status: number, reason: string): void {
    this.#ended = true;
    this.#link?.abandon();
    this.#link = null;
    if (this.#responded) this.#client.exchangeBroken();
    else this.#client.exchangeRefused(status, reason, this.keepAlive);
  }

  // ---- from the relay

  interimStarts(): void {
    this.#interim = true;
  }

  responseStarts(_status: number, delimited: boolean): void {
    this.#responded = true;
    this.#delimited = delimited && this.keepAlive;
  }

  toClient(bytes: Buffer, start: number, end: number): void {
    if (!this.#client.write(bytes, start, end)) this.#link?.stream.pause();
  }

  responseEnds(reusable: boolean): void {
    this.#ended = true;
    const link = this.#link!;
    this.#link = null;
    if (!this.requestComplete) link.abandon();
    else if (reusable) link.upstream.release(link, this.#port.now());
    else link.discard();
    this.#client.exchangeEnded(this.#delimited);
  }

  tunnelStarts(rest: Buffer): void {
    this.tunnel = true;
    this.#link!.stream.keepAlive(tunnelKeepAliveMs);
    if (rest.length > 0) this.toClient(rest, 0, rest.length);
    this.#client.tunnelStarts();
  }

  responseRefused(reason: string): void {
    this.#port.counters.failures++;
    this.#refuse(502, `${this.#upstream!.description} sent a malformed response: ${reason}`);
  }
}

function isUnsafe(method: Method): boolean {
  return !isIdempotent(method);
}

function isUsable(upstream: Upstream): boolean {
  return upstream.health.status === "healthy" || upstream.health.status === "untested";
}
