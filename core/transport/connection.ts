/**
 * One connection to a server, and one exchange at a time on it. The runtimes' own HTTP clients are not used: they
 * do not tell whether a lost request was sent, do not agree about a body that was cut, and resume TLS sessions.
 *
 *   idle ──exchange──▶ busy ──answer read, request written──▶ idle ──▶ …
 *     └──────── closed by either side, or broken ────────┴──▶ closed
 */
import type { TLSSocket } from "node:tls";
import { headBytesMax, KiB } from "../limits.ts";
import { chunkedBody, countedBody } from "./body-reader.ts";
import type { BodyReader } from "./body-reader.ts";
import { codeOf } from "./error-code.ts";
import { formatHead, writeRequest } from "./request-body.ts";
import type { RequestParts } from "./request-body.ts";
import { malformed, parseResponseHead } from "./response-head.ts";
import type { ResponseHead } from "./response-head.ts";

/** Received ahead of the reader; then the socket is paused. */
const aheadBytesMax = 256 * KiB;

/** The connection ended before the answer did. */
export class ConnectionLost extends Error {
  /** False: no byte of the answer had come. */
  readonly answered: boolean;
  /** OpenSSL's alert, when the server refused our certificate and said so. */
  readonly alert: string | undefined;
  constructor(answered: boolean, cause?: unknown) {
    super(cause instanceof Error ? cause.message : "the connection was closed", { cause });
    this.answered = answered;
    const code = codeOf(cause);
    this.alert = /ALERT/i.test(code) || /alert/i.test(this.message) ? code || this.message : undefined;
  }
}

interface Exchange {
  method: string;
  signal: AbortSignal | undefined;
  resolve: (response: Response) => void;
  reject: (reason: unknown) => void;
  /** Turns what broke the body into what its reader gets. */
  bodyError: (e: unknown) => unknown;
  head: ResponseHead | null;
  body: ReadableStreamDefaultController<Uint8Array> | null;
  written: boolean;
  ended: boolean;
  onAbort: () => void;
}

export interface ExchangeOptions {
  signal?: AbortSignal | undefined;
  bodyError: (e: unknown) => unknown;
}

export class Connection {
  readonly address: string;
  /** How many exchanges it has carried: on the first one, a loss is not a stale connection's. */
  exchanges = 0;
  idleSinceMs = 0;
  readonly #socket: TLSSocket;
  readonly #onIdle: (connection: Connection) => void;
  #current: Exchange | null = null;
  #reader: BodyReader | null = null;
  #pending: Uint8Array = new Uint8Array(0);
  #error: unknown;

  constructor(address: string, socket: TLSSocket, onIdle: (connection: Connection) => void) {
    this.address = address;
    this.#socket = socket;
    this.#onIdle = onIdle;
    socket.on("data", (bytes: Uint8Array) => this.#receive(bytes));
    socket.on("error", (e) => (this.#error ??= e));
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#lost(this.#error));
  }

  get closed(): boolean {
    return this.#socket.destroyed;
  }

  destroy(reason?: unknown): void {
    this.#error ??= reason;
    this.#socket.destroy();
  }

  /** Resolves with the answer's head; its body streams. Rejects with ConnectionLost or the signal's reason. */
  exchange(request: RequestParts, options: ExchangeOptions): Promise<Response> {
    const { signal, bodyError } = options;
    const head = formatHead(this.address, request);
    this.exchanges++;
    this.#socket.ref();
    return new Promise((resolve, reject) => {
      const onAbort = () => this.#fail(signal?.reason);
      const exchange: Exchange = {
        method: request.method,
        signal,
        resolve,
        reject,
        bodyError,
        head: null,
        body: null,
        written: false,
        ended: false,
        onAbort,
      };
      this.#current = exchange;
      if (this.closed) return this.#lost(this.#error);
      signal?.addEventListener("abort", onAbort);
      writeRequest(this.#socket, head, request).then(
        () => {
          exchange.written = true;
          this.#maybeIdle(exchange);
        },
        // The loss of the connection is reported where it is seen; this is a body that could not be read.
        (e: unknown) => this.#current === exchange && !this.closed && this.#fail(e),
      );
    });
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#current || this.#current.ended) return this.destroy(malformed("bytes that nobody asked for"));
    try {
      this.#parse(this.#current, bytes);
    } catch (e) {
      this.#fail(e);
    }
  }

  #parse(exchange: Exchange, bytes: Uint8Array): void {
    let rest = bytes;
    while (!exchange.head) {
      const all = this.#pending.length === 0 ? rest : Buffer.concat([this.#pending, rest]);
      const end = Buffer.from(all.buffer, all.byteOffset, all.length).indexOf("\r\n\r\n");
      if ((end < 0 ? all.length : end) > headBytesMax) throw malformed(`a head above ${headBytesMax} bytes`);
      if (end < 0) {
        this.#pending = all;
        return;
      }
      this.#pending = new Uint8Array(0);
      const head = parseResponseHead(Buffer.from(all.subarray(0, end)).toString("latin1"), exchange.method);
      rest = all.subarray(end + 4);
      if (head.status === 101) throw malformed("a switch of protocols that nobody asked for");
      // 100 Continue, 103 Early Hints: the real answer follows.
      if (head.status >= 200) this.#answer(exchange, head);
      else if (rest.length === 0) return;
    }
    if (exchange.ended) {
      if (rest.length > 0) throw malformed("bytes after the answer");
      return;
    }
    const used = this.#reader!.push(rest, (payload) => exchange.body?.enqueue(payload));
    if (used >= 0) {
      if (used < rest.length) throw malformed("bytes after the answer");
      this.#end(exchange);
    } else if ((exchange.body?.desiredSize ?? 1) <= 0) {
      this.#socket.pause();
    }
  }

  #answer(exchange: Exchange, head: ResponseHead): void {
    exchange.head = head;
    const { status, headers } = head;
    if (head.body === 0) {
      const none = status === 204 || status === 205 || status === 304 || exchange.method === "HEAD";
      exchange.resolve(new Response(none ? null : "", { status, headers }));
      this.#end(exchange);
      return;
    }
    this.#reader = head.body === "chunked" ? chunkedBody() : countedBody(head.body);
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          exchange.body = controller;
        },
        pull: () => void this.#socket.resume(),
        cancel: () => {
          exchange.body = null;
          this.#finish(exchange);
          this.destroy();
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: aheadBytesMax }),
    );
    exchange.resolve(new Response(stream, { status, headers }));
  }

  #end(exchange: Exchange): void {
    exchange.ended = true;
    this.#reader = null;
    exchange.body?.close();
    exchange.body = null;
    this.#socket.resume();
    this.#maybeIdle(exchange);
  }

  #maybeIdle(exchange: Exchange): void {
    if (!exchange.ended || this.#current !== exchange) return;
    this.#finish(exchange);
    // An answer that came before the request was all written: nobody reads the rest of it.
    if (!exchange.written || !exchange.head?.keepAlive) return this.destroy();
    this.#socket.unref();
    this.#onIdle(this);
  }

  #lost(cause: unknown): void {
    this.#fail(new ConnectionLost(this.#current?.head !== null && this.#current !== null, cause));
  }

  #fail(e: unknown): void {
    const exchange = this.#current;
    this.destroy(e);
    if (!exchange) return;
    this.#finish(exchange);
    if (exchange.head)
      exchange.body?.error(exchange.signal?.aborted ? exchange.signal.reason : exchange.bodyError(e));
    else exchange.reject(e);
  }

  #finish(exchange: Exchange): void {
    this.#current = null;
    exchange.signal?.removeEventListener("abort", exchange.onAbort);
  }
}
