/**
 * The server for peers with certificates: mutual TLS 1.3, every request with the identity that the certificate
 * proves. node:http2 with HTTP/1.1 allowed is the one server that shows the peer's certificate in Bun and in Deno;
 * both protocols are exposed, and the identity is read from the socket of either.
 *
 * TLS refuses strangers (no certificate, another authority, out of date, not for clients); `check` refuses known
 * peers in the wrong place, with 403 and the reason.
 */
import { createSecureServer } from "node:http2";
import type { Http2SecureServer } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { DvsError } from "../errors.ts";
import { headReadTimeoutMs } from "../limits.ts";
import type { Identity } from "../trust/identity.ts";
import type { TlsIdentity } from "./dial.ts";
import { judgePeer } from "./peer.ts";
import type { PeerCheck, PeerVerdict } from "./peer.ts";
import { breakOff, sendResponse, toRequest } from "./web-exchange.ts";
import type { Incoming, Outgoing } from "./web-exchange.ts";

export interface MutualTlsOptions extends TlsIdentity {
  host: string;
  /** 0 = any. */
  port: number;
  /** PEM of the authority that signs those who may connect. */
  ca: string;
  /** Who of them may: `peerOf(["node"], clusterId)`. */
  check: PeerCheck;
  fetch: (request: Request, identity: Identity) => Response | Promise<Response>;
  /** A client that has not finished its handshake by then is cut off. */
  handshakeTimeoutMs?: number;
  /** A connection that carries no request for so long is closed: idle, or slow with a head. */
  idleTimeoutMs?: number;
  /** What went wrong inside `fetch`, beyond the DvsErrors that it answered with. */
  onError?: (e: unknown) => void;
}

export interface MutualTlsServer {
  port: number;
  /** For new connections; those that stand go on with the old one. */
  setCertificate(identity: TlsIdentity & { ca?: string }): void;
  /** Stops listening, lets requests under way finish for `graceMs`, then cuts them. */
  close(graceMs?: number): Promise<void>;
}

const handshakeTimeoutMs = 5_000;

export async function serveMutualTls(options: MutualTlsOptions): Promise<MutualTlsServer> {
  const tls = (identity: TlsIdentity, ca: string) => ({
    cert: identity.certificate,
    key: identity.key,
    ca,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: "TLSv1.3" as const,
  });
  let { ca } = options;
  const server: Http2SecureServer = createSecureServer({
    ...tls(options, ca),
    allowHTTP1: true,
    handshakeTimeout: options.handshakeTimeoutMs ?? handshakeTimeoutMs,
  });
  const sockets = new Map<Socket, Idleness>();
  const verdicts = new WeakMap<object, PeerVerdict>();
  const idleMs = options.idleTimeoutMs ?? headReadTimeoutMs;

  // The runtimes report a failed or late handshake and leave the socket open.
  server.on("tlsClientError", (_e: Error, socket: TLSSocket | undefined) => socket?.destroy());
  server.on("secureConnection", (socket: TLSSocket) => {
    socket.on("error", () => {});
    socket.setNoDelay(true);
    sockets.set(socket, new Idleness(socket, idleMs));
    socket.once("close", () => {
      sockets.get(socket)?.stop();
      sockets.delete(socket);
    });
  });
  server.on("sessionError", () => {});
  server.on("clientError", (_e: Error, socket: Socket) => socket.destroy());
  server.on("request", (incoming, outgoing) => void answer(incoming, outgoing as unknown as Outgoing));

  async function answer(incoming: Incoming, outgoing: Outgoing): Promise<void> {
    const http2 = incoming.httpVersionMajor === 2;
    // In HTTP/2 `incoming.socket` is a proxy that forbids much; the session's is the real one.
    const socket = ("stream" in incoming ? incoming.stream.session?.socket : incoming.socket) as
      TLSSocket | undefined;
    const left = new AbortController();
    outgoing.on("error", () => {});
    incoming.on("error", () => {});
    const idleness = socket && sockets.get(socket);
    idleness?.begin();
    outgoing.once("close", () => {
      if (!outgoing.writableFinished) left.abort(new Error("the client went away"));
      idleness?.end();
    });
    try {
      const response = await respond(incoming, socket, left.signal);
      await sendResponse(response, outgoing, http2);
    } catch (e) {
      options.onError?.(e);
      breakOff(outgoing);
    }
  }

  async function respond(
    incoming: Incoming,
    socket: TLSSocket | undefined,
    signal: AbortSignal,
  ): Promise<Response> {
    let request: Request;
    try {
      const verdict = verdictOf(socket);
      if (verdict.refused !== null) {
        throw new DvsError("FORBIDDEN", `This port is for others: the peer is ${verdict.refused}.`);
      }
      try {
        request = toRequest(incoming, signal);
      } catch (e) {
        throw new DvsError("INVALID", "Cannot read the request.", { cause: e });
      }
      return await options.fetch(request, verdict.identity);
    } catch (e) {
      if (!(e instanceof DvsError)) options.onError?.(e);
      const error = DvsError.from(e);
      return Response.json(error.toBody(), { status: error.status });
    }
  }

  /** Once per connection: its certificate cannot change. */
  function verdictOf(socket: TLSSocket | undefined): PeerVerdict {
    if (!socket) return { identity: null, refused: "gone" };
    let verdict = verdicts.get(socket);
    if (!verdict) {
      verdict = judgePeer(socket, options.check);
      verdicts.set(socket, verdict);
    }
    return verdict;
  }

  await new Promise<void>((resolve, reject) => {
    const failed = (e: NodeJS.ErrnoException) => reject(listenError(options, e));
    server.once("error", failed);
    server.listen(options.port, options.host, () => {
      server.off("error", failed);
      resolve();
    });
  });
  // Too many open files, say: the next connection may find one again.
  server.on("error", (e) => options.onError?.(e));

  return {
    port: (server.address() as AddressInfo).port,
    setCertificate(identity) {
      ca = identity.ca ?? ca;
      server.setSecureContext(tls(identity, ca));
    },
    async close(graceMs = 0) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const idleness of sockets.values()) idleness.drain();
      const timer = setTimeout(() => {
        for (const socket of sockets.keys()) socket.destroy();
      }, graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

/** Closes a connection that carries no request. Counts requests because HTTP/2 carries several. */
class Idleness {
  readonly #socket: Socket;
  #idleMs: number;
  #busy = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: Socket, idleMs: number) {
    this.#socket = socket;
    this.#idleMs = idleMs;
    this.#wait();
  }
  begin(): void {
    this.#busy++;
    this.stop();
  }
  end(): void {
    this.#busy--;
    if (this.#busy === 0) this.#wait();
  }
  /** From now on idle means closed. */
  drain(): void {
    this.#idleMs = 0;
    if (this.#busy === 0) this.#socket.destroy();
  }
  stop(): void {
    clearTimeout(this.#timer);
  }
  #wait(): void {
    this.stop();
    this.#timer = setTimeout(() => this.#socket.destroy(), this.#idleMs);
  }
}

function listenError(options: MutualTlsOptions, e: NodeJS.ErrnoException): DvsError {
  const at = `${options.host}:${options.port}`;
  if (e.code === "EADDRINUSE") {
    return new DvsError("CONFLICT", `Cannot listen on ${at}: the port is in use. Choose another.`, {
      cause: e,
    });
  }
  return new DvsError("FAILED", `Cannot listen on ${at}: ${e.message}.`, { cause: e });
}
