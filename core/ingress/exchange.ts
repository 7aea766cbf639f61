/**
 * One request and its response: gets a connection to an upstream, perhaps after a wait in line, sends the request on
 * it, tries once more elsewhere where that is safe, and relays the response. Its client is a connection that has one exchange at a time.
 *
 * The request's bytes are collected in `out` as they leave: first what came with the head, so that a small request
 * is one write, and for idempotent requests everything up to replayBodyBytesMax, so that it can be sent again.
 */
import type { StreamFailure } from "../platform/tcp.ts";
import { replayBodyBytesMax } from "../limits.ts";
import type { Admission, Applicant, Refusal } from "./admission-machine.ts";
import { isHealthy } from "./balancing-machine.ts";
import type { ByteWriter } from "./http/byte-writer.ts";
import { ChunkedScanner } from "./http/chunked.ts";
import type { Method, RequestHead } from "./http/request-head.ts";
import { tunnelKeepAliveMs, unsafeMethodIdleMs, upstreamIdleMs } from "./ingress-limits.ts";
import { ResponseRelay, type RelayOwner } from "./response-relay.ts";
import { isIdempotent, whyNotRetry } from "./retry-machine.ts";
import type { RoutedPort } from "./routed-port.ts";
import type { Upstream } from "./upstream.ts";
import type { LinkUser, UpstreamLink } from "./upstream-link.ts";
import type { Place } from "./waiting-line.ts";

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

export class Exchange implements LinkUser, RelayOwner, Applicant<Upstream> {
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

  // The wait for a connection
  /** The port may come to lead to another instance meanwhile. */
  readonly #admission: Admission<Upstream>;
  readonly order: number;
  idleMsMax: number;
  avoid: Upstream | null = null;
  place: Place<Applicant<Upstream>> | null = null;

  // The attempt
  /** How often it was sent, or a part of it. */
  #attempts = 0;
  #link: UpstreamLink | null = null;
  #upstream: Upstream | null = null;

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
    this.#admission = port.admission;
    this.order = this.#admission.nextOrder();
    this.idleMsMax = isIdempotent(head.method) ? upstreamIdleMs : unsafeMethodIdleMs;
    this.#relay = new ResponseRelay(this);
  }

  get keepAlive(): boolean {
    return this.#wantsKeepAlive && this.requestComplete && this.#port.open;
  }

  /** Bytes of the final response have gone to the client. */
  get responded(): boolean {
    return this.#responded;
  }

  start(): void {
    this.#port.budget.earn();
    this.#port.counters.requests++;
    this.#admission.enter(this, this.startedAt);
  }

  // ---- from the client

  /**
   * Offers bytes[start, end) of the request. Returns where those end that it took; -1 when they are malformed, and
   * then the exchange is over.
   */
  takeBody(bytes: Buffer, start: number, end: number): number {
    if (this.requestComplete || this.#ended) return start;
    const room = replayBodyBytesMax - (this.#out.length - this.#headBytes);
    const sending = this.#link !== null;
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
    this.#admission.leave(this);
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

  serve(upstream: Upstream): void {
    const link = upstream.take();
    if (this.#attempts > 0) this.#port.counters.retries++;
    this.#attempts++;
    this.#upstream = upstream;
    this.#link = link;
    link.exchange = this;
    this.#send(this.#out.buffer, 0, this.#out.length);
    if (!this.requestComplete) this.#client.wantBody();
  }

  refuse(refusal: Refusal): void {
    const { counters, nothingReason } = this.#port;
    const { upstreams } = this.#admission;
    counters.failures++;
    // 503 says that nothing was sent to anybody.
    const status = this.#attempts > 0 ? 502 : 503;
    switch (refusal) {
      case "nothing":
        return this.#refuse(status, nothingReason);
      case "full":
        return this.#refuse(status, "too many requests wait for a connection to the instance");
      case "waited": {
        const patienceMs = this.#admission.patienceMs(this.#port.now());
        return this.#refuse(status, `no connection to the instance became free within ${patienceMs} ms`);
      }
      case "unreachable": {
        const failed = this.#upstream ?? upstreams[0]!;
        const other = upstreams.length > 1 ? "the others did, too" : "there is no other";
        return this.#refuse(status, `${failed.description} failed: ${failed.failure}; ${other}`);
      }
    }
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
    upstream.requestFailed(reason);
    this.#retryOr(reason);
  }

  /** Probes call the upstream failed. `last`: it has been so for so long that nobody waits any more. */
  upstreamFailed(reason: string, last: boolean): void {
    if (this.#ended || this.tunnel) {
      if (this.tunnel && last) this.#breakOff();
      return;
    }
    const another = this.#admission.upstreams.some((u) => u !== this.#upstream && isHealthy(u));
    if ((another && this.#whyNotRetry() === null) || last) this.#retryOr(reason);
  }

  #whyNotRetry(): string | null {
    return whyNotRetry({
      method: this.method,
      attempts: this.#attempts,
      responded: this.#responded || this.#interim,
      kept: this.#kept,
    });
  }

  #retryOr(reason: string): void {
    const { counters, budget } = this.#port;
    const failed = this.#upstream!;
    let whyNot = this.#whyNotRetry();
    if (whyNot === null && !budget.spend(this.#port.now())) whyNot = "too many requests are being retried";
    const link = this.#link;
    this.#link = null;
    link?.abandon();
    if (whyNot === null) {
      this.#relay = new ResponseRelay(this);
      this.#client.pauseForUpstream(false);
      // The only one there is may have it again, if it was just an old connection that had died.
      const again = link?.reused && this.#admission.upstreams.every((u) => u === failed);
      this.avoid = again ? null : failed;
      if (again) this.idleMsMax = 0;
      this.#admission.enter(this, this.#port.now());
      return;
    }
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
    else if (reusable) link.upstream.release(link);
    else link.discard();
    this.#client.exchangeEnded(this.#delimited);
  }

  tunnelStarts(rest: Buffer): void {
    this.tunnel = true;
    const link = this.#link!;
    link.upstream.becomesTunnel(link);
    link.stream.keepAlive(tunnelKeepAliveMs);
    if (rest.length > 0) this.toClient(rest, 0, rest.length);
    this.#client.tunnelStarts();
  }

  responseRefused(reason: string): void {
    this.#port.counters.failures++;
    this.#refuse(502, `${this.#upstream!.description} sent a malformed response: ${reason}`);
  }
}
