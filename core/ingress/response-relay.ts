/**
 * The way back of one exchange: reads the upstream's response, and hands its head rewritten and its body untouched
 * to the client. Says what it found; what follows from it is the exchange's business.
 */
import type { Method } from "./http/request-head.ts";
import { ByteWriter } from "./http/byte-writer.ts";
import { ChunkedScanner } from "./http/chunked.ts";
import { ResponseHead, parseResponseHead } from "./http/response-head.ts";
import { type ConnectionOption, writeResponseHead } from "./http/rewrite.ts";
import { headBytesMax } from "../limits.ts";

export interface RelayOwner {
  /** What the client asked for. */
  readonly method: Method;
  readonly minorVersion: number;
  readonly websocket: boolean;
  /** Whether the client's connection can go on after a response whose end the client can tell. */
  readonly keepAlive: boolean;
  /** The final head goes out with the next toClient(). `delimited`: the client can tell where the body ends. */
  responseStarts(status: number, delimited: boolean): void;
  interimStarts(): void;
  toClient(bytes: Buffer, start: number, end: number): void;
  /** The response is complete; the upstream's connection may be used again or not. */
  responseEnds(reusable: boolean): void;
  /** 101: bytes from now on belong to nobody's grammar. `rest` came already. */
  tunnelStarts(rest: Buffer): void;
  responseRefused(reason: string): void;
}

type State = "head" | "length" | "chunked" | "untilClose" | "done";

/** One for all: each is filled and used up within one call. */
const head = new ResponseHead();
const out = new ByteWriter(4 * headBytesMax);

export class ResponseRelay {
  readonly #owner: RelayOwner;
  #state: State = "head";
  #held: Buffer | null = null;
  #left = 0;
  #scanner: ChunkedScanner | null = null;
  #dechunk = false;
  #keepAlive = false;

  constructor(owner: RelayOwner) {
    this.#owner = owner;
  }

  /** The upstream's FIN completes the body. */
  get endsWithConnection(): boolean {
    return this.#state === "untilClose";
  }

  onData(chunk: Buffer): void {
    if (this.#state === "head") this.#onHead(chunk);
    else this.#onBody(chunk, 0);
  }

  #onHead(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#held) {
      bytes = Buffer.concat([this.#held, chunk]);
      this.#held = null;
    }
    let start = 0;
    for (;;) {
      const bodyStart = parseResponseHead(bytes, start, bytes.length, head, headBytesMax);
      if (bodyStart < 0) {
        this.#owner.responseRefused(head.reason);
        return;
      }
      if (bodyStart === 0) {
        this.#held = start === 0 ? bytes : bytes.subarray(start);
        return;
      }
      if (head.status >= 200) {
        this.#startFinal(bytes, bodyStart);
        return;
      }
      if (head.status === 101) {
        this.#switchProtocols(bytes, bodyStart);
        return;
      }
      // 100 answers an Expect that we did not pass on; HTTP/1.0 knows no interim responses.
      if (head.status !== 100 && this.#owner.minorVersion === 1) {
        out.reset(4 * headBytesMax);
        writeResponseHead(out, bytes, bodyStart, head, false, "");
        this.#owner.interimStarts();
        this.#owner.toClient(out.buffer, 0, out.length);
      }
      start = bodyStart;
      if (start === bytes.length) return;
    }
  }

  #switchProtocols(bytes: Buffer, bodyStart: number): void {
    if (!this.#owner.websocket) {
      this.#owner.responseRefused("it changed the protocol without being asked");
      return;
    }
    out.reset(4 * headBytesMax);
    writeResponseHead(out, bytes, bodyStart, head, false, "upgrade");
    this.#state = "done";
    this.#owner.responseStarts(101, false);
    this.#owner.toClient(out.buffer, 0, out.length);
    this.#owner.tunnelStarts(bytes.subarray(bodyStart));
  }

  #startFinal(bytes: Buffer, bodyStart: number): void {
    const owner = this.#owner;
    const { status, framing } = head;
    const bodyless = owner.method === "HEAD" || status === 204 || status === 304;
    let chunked = false;
    if (bodyless) {
      this.#state = "length";
      this.#left = 0;
    } else if (framing.chunked) {
      this.#state = "chunked";
      this.#scanner = new ChunkedScanner();
      this.#dechunk = owner.minorVersion === 0;
      chunked = !this.#dechunk;
    } else if (framing.length >= 0) {
      this.#state = "length";
      this.#left = framing.length;
    } else this.#state = "untilClose";
    this.#keepAlive = head.keepAlive && this.#state !== "untilClose";

    const delimited = this.#state === "length" || chunked;
    let connection: ConnectionOption = "";
    if (!delimited || !owner.keepAlive) connection = "close";
    else if (owner.minorVersion === 0) connection = "keepAlive";
    out.reset(4 * headBytesMax);
    writeResponseHead(out, bytes, bodyStart, head, chunked, connection);

    if (this.#dechunk) {
      owner.responseStarts(status, delimited);
      owner.toClient(out.buffer, 0, out.length);
      this.#onBody(bytes, bodyStart);
    } else this.#onBodyAfterHead(bytes, bodyStart, status, delimited);
  }

  /** Sends the head in `out` and the body's bytes behind bodyStart, in one write where that costs little. */
  #onBodyAfterHead(bytes: Buffer, bodyStart: number, status: number, delimited: boolean): void {
    const bodyEnd = this.#take(bytes, bodyStart);
    if (bodyEnd < 0) return;
    this.#owner.responseStarts(status, delimited);
    if (out.length <= bodyStart) {
      // The chunk is ours: the new head fits where the old one was.
      out.buffer.copy(bytes, bodyStart - out.length, 0, out.length);
      this.#owner.toClient(bytes, bodyStart - out.length, bodyEnd);
    } else if (bodyEnd - bodyStart <= 2 * headBytesMax) {
      out.append(bytes, bodyStart, bodyEnd);
      this.#owner.toClient(out.buffer, 0, out.length);
    } else {
      this.#owner.toClient(out.buffer, 0, out.length);
      this.#owner.toClient(bytes, bodyStart, bodyEnd);
    }
    this.#maybeEnd(bytes, bodyEnd);
  }

  #onBody(bytes: Buffer, start: number): void {
    if (this.#state === "done") {
      this.#owner.responseRefused("bytes after the end of its response");
      return;
    }
    const end = this.#take(bytes, start);
    if (end < 0) return;
    if (end > start && !this.#dechunk) this.#owner.toClient(bytes, start, end);
    this.#maybeEnd(bytes, end);
  }

  /** Where the body's bytes in bytes[start…] end; -1 when they are malformed, which the owner has been told. */
  #take(bytes: Buffer, start: number): number {
    switch (this.#state) {
      case "length": {
        const n = Math.min(this.#left, bytes.length - start);
        this.#left -= n;
        return start + n;
      }
      case "chunked": {
        const scanner = this.#scanner!;
        const sink = this.#dechunk ? (a: number, b: number) => this.#owner.toClient(bytes, a, b) : null;
        const end = scanner.scan(bytes, start, bytes.length, sink);
        if (end < 0) this.#owner.responseRefused(scanner.refusal);
        return end;
      }
      default:
        return bytes.length;
    }
  }

  #maybeEnd(bytes: Buffer, end: number): void {
    const ended = this.#state === "length" ? this.#left === 0 : (this.#scanner?.done ?? false);
    if (!ended) return;
    this.#state = "done";
    // Bytes behind the response would be taken for the next one.
    this.#owner.responseEnds(this.#keepAlive && end === bytes.length);
  }
}
