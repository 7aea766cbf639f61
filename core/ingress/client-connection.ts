/**
 * A client's connection: reads its requests one after the other and runs an exchange for each. Requests that are
 * sent ahead wait here, so that answers come in order.
 *
 *   head ──▶ exchange ──▶ head …        and from anywhere: closing (a last response, then reading and throwing away,
 *     └── refused ──▶ closing           so that the client can read it), gone
 */
import type { Stream, StreamFailure, StreamUser } from "../platform/tcp.ts";
import { headBytesMax, headReadTimeoutMs } from "../limits.ts";
import { Exchange, type ExchangeClient } from "./exchange.ts";
import { ByteWriter } from "./http/byte-writer.ts";
import { LF, ascii } from "./http/bytes.ts";
import { RequestHead, parseRequestHead } from "./http/request-head.ts";
import { type Hop, writeRequestHead } from "./http/rewrite.ts";
import {
  clientIdleMs,
  clientStallMs,
  lingerBytesMax,
  lingerMs,
  readAheadBytesMax,
  surplusIdleMs,
  tunnelKeepAliveMs,
} from "./ingress-limits.ts";
import { ownResponse } from "./own-response.ts";
import type { RoutedPort } from "./routed-port.ts";

/** Filled for each request and used up within the call. */
const head = new RequestHead();
const outCapacity = 2 * 1024;
const continueResponse = ascii("HTTP/1.1 100 Continue\r\n\r\n");

export class ClientConnection implements StreamUser, ExchangeClient {
  readonly #stream: Stream;
  readonly #port: RoutedPort;
  readonly #hop: Hop;
  readonly #onGone: (client: ClientConnection) => void;
  /** There are too many clients: its request is answered 503. */
  readonly #surplus: boolean;
  readonly #out = new ByteWriter(outCapacity);
  #exchange: Exchange | null = null;
  /** Bytes that came and were not consumed yet, from #heldStart on. */
  #held: Buffer | null = null;
  #heldStart = 0;
  #consuming = false;
  #pausedForUpstream = false;
  /** Too much was read ahead. */
  #pausedFull = false;
  #paused = false;
  /** The client is slow: no further request is begun before it has taken what is queued. */
  #clogged = false;
  /** When the first byte of the head came; -1 while none has. */
  #headSince = -1;
  #activeAt: number;
  #queuedBefore = 0;
  #peerEnded = false;
  /** When it began to close; -1 before. */
  #closingSince = -1;
  #lingerBytes = 0;

  constructor(
    stream: Stream,
    port: RoutedPort,
    hop: Hop,
    { surplus, onGone }: { surplus: boolean; onGone: (client: ClientConnection) => void },
  ) {
    this.#stream = stream;
    this.#port = port;
    this.#hop = hop;
    this.#surplus = surplus;
    this.#onGone = onGone;
    this.#activeAt = port.now();
  }

  get exchange(): Exchange | null {
    return this.#exchange;
  }

  // ---- events of the stream

  onOpen(): void {}

  onData(chunk: Buffer): void {
    this.#activeAt = this.#port.now();
    if (this.#closingSince >= 0) {
      this.#lingerBytes += chunk.length;
      if (this.#lingerBytes > lingerBytesMax) this.#stream.close();
      return;
    }
    if (this.#held === null) {
      this.#consume(chunk, 0);
      return;
    }
    const held = this.#held;
    const before = held.length - this.#heldStart;
    const bytes = Buffer.concat([held.subarray(this.#heldStart), chunk], before + chunk.length);
    // A head whose new part ends no line cannot be complete now: not parsed again for each byte.
    if (this.#exchange === null && bytes.length < headBytesMax && !chunk.includes(LF)) this.#hold(bytes, 0);
    else this.#consume(bytes, 0);
  }

  onDrain(): void {
    this.#activeAt = this.#port.now();
    this.#clogged = false;
    if (this.#exchange) this.#exchange.clientDrained();
    else if (this.#closingSince < 0) this.#next();
  }

  onEnd(): void {
    this.#peerEnded = true;
    const exchange = this.#exchange;
    if (exchange === null && !this.#clogged) this.#stream.close();
    else if (exchange?.tunnel) exchange.tunnelEnd();
    else this.#maybeCutShort();
  }

  /** The rest of a request will never come. A client that only shut down its side still waits for the answer. */
  #maybeCutShort(): void {
    const exchange = this.#exchange;
    if (!this.#peerEnded || exchange === null || exchange.tunnel || this.#held !== null) return;
    if (!exchange.requestComplete) this.#stream.destroy();
  }

  onClose(_failure: StreamFailure | null): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#held = null;
    this.#closingSince = this.#port.now();
    exchange?.clientGone();
    this.#onGone(this);
  }

  // ---- requests

  #consume(bytes: Buffer, start: number): void {
    this.#consuming = true;
    this.#held = null;
    let at = start;
    while (at < bytes.length && this.#closingSince < 0) {
      const exchange = this.#exchange;
      let next: number;
      if (exchange === null) next = this.#clogged ? at : this.#readHead(bytes, at);
      else if (exchange.tunnel) {
        exchange.tunnelData(at === 0 ? bytes : bytes.subarray(at));
        next = bytes.length;
      } else next = exchange.takeBody(bytes, at, bytes.length);
      if (next < 0) break;
      // Nothing taken: a head that is incomplete, or an exchange that cannot take it yet.
      if (next === at && this.#exchange === exchange) {
        this.#hold(bytes, at);
        break;
      }
      at = next;
    }
    this.#consuming = false;
    this.#updatePause();
    this.#maybeCutShort();
    if (this.#peerEnded && this.#exchange === null && this.#closingSince < 0) this.#stream.close();
  }

  /** Returns where the head ends, `start` when it is incomplete, -1 when it was refused. */
  #readHead(bytes: Buffer, start: number): number {
    const bodyStart = parseRequestHead(bytes, start, bytes.length, head, headBytesMax);
    if (bodyStart === 0) {
      if (this.#headSince < 0) this.#headSince = this.#port.now();
      return start;
    }
    this.#headSince = -1;
    if (bodyStart < 0) {
      this.#respondAndClose(head.status, head.reason);
      return -1;
    }
    if (!this.#port.open) {
      this.#respondAndClose(503, "this port is being closed");
      return -1;
    }
    if (this.#surplus) {
      this.#port.counters.requests++;
      this.#port.counters.failures++;
      this.#respondAndClose(503, "this node serves as many clients as it can", head.method === "HEAD");
      return -1;
    }
    this.#out.reset(outCapacity);
    writeRequestHead(this.#out, bytes, head, this.#hop);
    const exchange = new Exchange(this.#port, this, this.#out, head, this.#port.now());
    this.#exchange = exchange;
    let at = bodyStart;
    if (!exchange.requestComplete) {
      if (head.expectsContinue && at === bytes.length) {
        this.#stream.write(continueResponse, 0, continueResponse.length);
      }
      at = exchange.takeBody(bytes, at, bytes.length);
      if (at < 0) return -1;
    }
    exchange.start();
    return at;
  }

  #hold(bytes: Buffer, start: number): void {
    this.#held = bytes;
    this.#heldStart = start;
  }

  #heldBytes(): number {
    return this.#held === null ? 0 : this.#held.length - this.#heldStart;
  }

  #updatePause(): void {
    this.#pausedFull = (this.#exchange !== null || this.#clogged) && this.#heldBytes() >= readAheadBytesMax;
    const paused = this.#pausedForUpstream || this.#pausedFull;
    if (paused === this.#paused) return;
    this.#paused = paused;
    if (paused) this.#stream.pause();
    else this.#stream.resume();
  }

  // ---- for the exchange

  write(bytes: Buffer, start: number, end: number): boolean {
    this.#clogged = !this.#stream.write(bytes, start, end);
    return !this.#clogged;
  }

  wantBody(): void {
    if (this.#consuming || this.#held === null) return;
    this.#consume(this.#held, this.#heldStart);
  }

  tunnelStarts(): void {
    this.#stream.keepAlive(tunnelKeepAliveMs);
    this.wantBody();
  }

  pauseForUpstream(paused: boolean): void {
    if (this.#pausedForUpstream === paused) return;
    this.#pausedForUpstream = paused;
    if (!this.#consuming) this.#updatePause();
  }

  exchangeEnded(keepAlive: boolean): void {
    const wasTunnel = this.#exchange?.tunnel ?? false;
    if (wasTunnel) {
      // Half of the tunnel is closed; the other half ends with the stream.
      this.#stream.end();
      return;
    }
    this.#exchange = null;
    this.#activeAt = this.#port.now();
    if (!keepAlive) {
      this.#linger();
      return;
    }
    this.#next();
  }

  exchangeBroken(): void {
    this.#exchange = null;
    this.#stream.destroy();
  }

  exchangeRefused(status: number, reason: string, keepAlive: boolean): void {
    const isHead = this.#exchange?.method === "HEAD";
    this.#exchange = null;
    if (!keepAlive) {
      this.#respondAndClose(status, reason, isHead);
      return;
    }
    const response = ownResponse(status, reason, { head: isHead, close: false });
    this.write(response, 0, response.length);
    this.#next();
  }

  /** The connection stands before its next request, which may be here already. */
  #next(): void {
    this.#pausedForUpstream = false;
    if (this.#consuming) return;
    if (!this.#port.open) this.#linger();
    else if (this.#held !== null) this.#consume(this.#held, this.#heldStart);
    else if (this.#peerEnded) this.#stream.close();
    else this.#updatePause();
  }

  // ---- the end

  #respondAndClose(status: number, reason: string, isHead = false): void {
    const response = ownResponse(status, reason, { head: isHead, close: true });
    this.#stream.write(response, 0, response.length);
    this.#linger();
  }

  #linger(): void {
    this.#closingSince = this.#port.now();
    this.#held = null;
    this.#stream.end();
    this.#stream.resume();
    if (this.#peerEnded) this.#stream.close();
  }

  /** Since when it has waited for nothing; null while something is under way. */
  get idleSince(): number | null {
    return this.#exchange === null && this.#headSince < 0 && this.#closingSince < 0 ? this.#activeAt : null;
  }

  /** Closes a connection that waits for nothing; others go on to the end of their exchange. */
  closeIfIdle(): void {
    if (this.idleSince !== null) this.#stream.close();
  }

  destroy(): void {
    this.#stream.destroy();
  }

  /** To be called about four times a second: every deadline of the connection. */
  sweep(nowMs: number): void {
    if (this.#isStalled(nowMs)) {
      this.#stream.destroy();
      return;
    }
    if (this.#closingSince >= 0) {
      // Not destroy(): a slow client may still be taking the response out of the kernel's buffer.
      if (nowMs - this.#closingSince > lingerMs && this.#stream.queued === 0) this.#stream.close();
      return;
    }
    const exchange = this.#exchange;
    if (exchange === null) {
      if (this.#headSince >= 0) {
        if (nowMs - this.#headSince > headReadTimeoutMs) {
          this.#respondAndClose(408, `the head of the request took longer than ${headReadTimeoutMs} ms`);
        }
      } else if (nowMs - this.#activeAt > (this.#surplus ? surplusIdleMs : clientIdleMs))
        this.#stream.close();
      return;
    }
    if (
      !exchange.requestComplete &&
      !this.#pausedForUpstream &&
      !this.#pausedFull &&
      nowMs - this.#activeAt > clientStallMs
    ) {
      exchange.clientGone();
      this.#exchange = null;
      if (exchange.responded) this.#stream.destroy();
      else this.#respondAndClose(408, `nothing of the request's body came for ${clientStallMs} ms`);
    }
  }

  /** The client has taken nothing of what waits for it, for too long. */
  #isStalled(nowMs: number): boolean {
    const { queued } = this.#stream;
    if (queued > 0 && queued === this.#queuedBefore) return nowMs - this.#activeAt > clientStallMs;
    if (queued > 0) this.#activeAt = nowMs;
    this.#queuedBefore = queued;
    return false;
  }
}
