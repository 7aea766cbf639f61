/** Streams of core/platform/tcp.ts on node:net and node:tls: all that Deno has, and TLS for both runtimes. */
import { connect as netConnect, createServer, type Socket } from "node:net";
import { connect as tlsConnect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Stream, StreamFailure, StreamListener, StreamUser, Target, TlsOptions } from "./tcp.ts";

/** A peer that has not finished its TLS handshake by then is not there. */
const handshakeMs = 5_000;

/**
 * Connections that the kernel completes before we accept them: as many as a second of 4,000 clients, which is how long
 * a client whose SYN finds no room waits until it asks again. The kernel's own bound (somaxconn) is 4,096.
 */
export const backlog = 4_096;

export function connect(target: Target, user: StreamUser): Stream {
  const { address, tls } = target;
  if (!tls) {
    const socket =
      "socket" in address
        ? netConnect({ path: address.socket, allowHalfOpen: true })
        : netConnect({ host: address.host, port: address.port, allowHalfOpen: true, noDelay: true });
    const stream = new NodeStream(socket, user);
    socket.once("connect", () => {
      // Again: Deno forgets it when it is set before.
      if (!("socket" in address)) socket.setNoDelay(true);
      stream.user.onOpen();
    });
    return stream;
  }
  if ("socket" in address) throw new Error("TLS over a Unix socket is not supported");
  const socket = tlsConnect({
    host: address.host,
    port: address.port,
    cert: tls.certificate,
    key: tls.key,
    ca: tls.ca,
    // Set explicitly: it wins over NODE_TLS_REJECT_UNAUTHORIZED.
    rejectUnauthorized: true,
    minVersion: "TLSv1.3",
    // The name of a container is in its URI; the address that it happens to have says nothing.
    checkServerIdentity: (_host, certificate) => {
      const wrong = certificate?.raw ? tls.verify(certificate.raw) : "the peer sent no certificate";
      return wrong === null ? undefined : new Error(wrong);
    },
  });
  const stream = new NodeStream(socket, user);
  socket.once("secureConnect", () => {
    socket.setNoDelay(true);
    // Told twice on purpose: a runtime that skipped checkServerIdentity must not get further than this line.
    const wrong = verifyPeer(socket, tls, stream);
    if (wrong === null) stream.user.onOpen();
    else socket.destroy(new Error(wrong));
  });
  return stream;
}

/** Null for a peer whose chain is good and whom `verify` accepts. */
function verifyPeer(socket: TLSSocket, tls: TlsOptions, stream: NodeStream): string | null {
  if (!socket.authorized) return "the peer's certificate is not trusted";
  const raw = socket.getPeerCertificate()?.raw;
  if (!raw) return "the peer sent no certificate";
  stream.peerDer = raw;
  return tls.verify(raw);
}

export function listen(
  at: { host: string; port: number } | { socket: string },
  accept: (stream: Stream) => StreamUser | null,
  tls: TlsOptions | null = null,
): Promise<StreamListener> {
  return new Promise((resolve, reject) => {
    const welcome = (stream: NodeStream) => {
      const user = accept(stream);
      if (user) stream.user = user;
      else stream.destroy();
    };
    let verified = tls;
    const secured = tls
      ? createTlsServer(
          { ...serverOptions(tls), handshakeTimeout: handshakeMs, allowHalfOpen: true },
          (socket) => {
            socket.setNoDelay(true);
            const stream = new NodeStream(socket, nobody);
            if (verifyPeer(socket, verified!, stream) === null) welcome(stream);
            else stream.destroy();
          },
        )
      : null;
    const server =
      secured ??
      createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
        welcome(new NodeStream(socket, nobody)),
      );
    // A handshake that fails or takes too long only ends when somebody ends it.
    server.on("tlsClientError", (_error: Error, socket?: Socket) => socket?.destroy());
    server.once("error", reject);
    const where =
      "socket" in at ? { path: at.socket } : { host: at.host, port: at.port, exclusive: true, backlog };
    server.listen(where, () => {
      server.off("error", reject);
      // An error of accept() itself (too many open files): the listener goes on, the stream was never ours.
      server.on("error", () => {});
      const bound = server.address();
      resolve({
        port: bound !== null && typeof bound === "object" ? bound.port : 0,
        stop: () => void server.close(),
        ...(secured && {
          reload(next: TlsOptions) {
            verified = next;
            secured.setSecureContext(serverOptions(next));
          },
        }),
      });
    });
  });
}

function serverOptions(tls: TlsOptions) {
  return {
    cert: tls.certificate,
    key: tls.key,
    ca: tls.ca,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: "TLSv1.3",
  } as const;
}

class NodeStream implements Stream {
  user: StreamUser;
  peerDer: Uint8Array | null = null;
  readonly #socket: Socket;
  #failure: StreamFailure | null = null;
  readonly remoteAddress: string;

  constructor(socket: Socket, user: StreamUser) {
    this.#socket = socket;
    this.user = user;
    this.remoteAddress = socket.remoteAddress ?? "";
    socket.on("data", (chunk: Buffer) => this.user.onData(chunk));
    socket.on("drain", () => this.user.onDrain());
    socket.on("end", () => this.user.onEnd());
    socket.on("error", (e: NodeJS.ErrnoException) => {
      this.#failure ??= { code: e.code ?? "", message: e.message };
    });
    socket.on("close", () => {
      const user = this.user;
      this.user = nobody;
      user.onClose(this.#failure);
    });
  }

  get queued(): number {
    return this.#socket.writableLength;
  }

  write(bytes: Uint8Array, start: number, end: number): boolean {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return true;
    // node:net keeps the bytes until the kernel has them, so they are copied here.
    return socket.write(Buffer.from(bytes.subarray(start, end)));
  }

  end(): void {
    this.#socket.end();
  }

  close(): void {
    const socket = this.#socket;
    if (socket.writableLength === 0) socket.destroy();
    else socket.end(() => socket.destroy());
  }

  destroy(): void {
    if ("resetAndDestroy" in this.#socket && !("encrypted" in this.#socket)) this.#socket.resetAndDestroy();
    else (this.#socket as Socket).destroy();
  }

  keepAlive(ms: number): void {
    this.#socket.setKeepAlive(true, ms);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }
}

/** The user of a stream that has none. */
export const nobody: StreamUser = {
  onOpen() {},
  onData() {},
  onDrain() {},
  onEnd() {},
  onClose() {},
};
