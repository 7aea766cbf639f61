/**
 * Streams on Bun's own sockets: one send() a write, no stream machinery between. What Bun leaves to its users is
 * done here: it takes part of a write and forgets the rest, and after our own FIN it reports the peer's FIN only as
 * a close.
 */
import type { Socket, TCPSocketListener } from "bun";
import { backlog, connect as nodeConnect, listen as nodeListen, nobody } from "../node-tcp.ts";
import type { Stream, StreamFailure, StreamListener, StreamUser, Target, TlsOptions } from "../tcp.ts";

export function connect(target: Target, user: StreamUser): Stream {
  if (target.tls) return nodeConnect(target, user);
  const stream = new BunStream(user);
  const options = { allowHalfOpen: true, data: stream, socket: connecting };
  const { address } = target;
  // A failure comes through the promise; what is wrong with the address itself is thrown.
  void (async () => {
    try {
      await ("socket" in address
        ? Bun.connect({ ...options, unix: address.socket })
        : Bun.connect({ ...options, hostname: address.host, port: address.port }));
    } catch (e) {
      // Never before this returns, though Bun tells at once of a Unix socket that is not there.
      queueMicrotask(() => stream.closed(failureOf(e as Error)));
    }
  })();
  return stream;
}

export async function listen(
  at: { host: string; port: number } | { socket: string },
  accept: (stream: Stream) => StreamUser | null,
  tls: TlsOptions | null = null,
): Promise<StreamListener> {
  if (tls) return nodeListen(at, accept, tls);
  const socket = {
    ...handlers,
    open(socket: Socket<BunStream>) {
      const stream = new BunStream(nobody);
      socket.data = stream;
      stream.opened(socket);
      const user = accept(stream);
      if (user) stream.user = user;
      else stream.destroy();
    },
  };
  const options = { allowHalfOpen: true, socket };
  if ("socket" in at) {
    const listener = Bun.listen<BunStream>({ ...options, unix: at.socket });
    return { port: 0, stop: () => listener.stop(false) };
  }
  const listener = Bun.listen<BunStream>({ ...options, hostname: at.host, port: at.port, exclusive: true });
  await setBacklog(listener);
  return { port: listener.port, stop: () => listener.stop(false) };
}

/** Bun's own backlog is 512 and no option; listen(2) on a socket that listens already sets it anew. */
async function setBacklog(listener: TCPSocketListener<BunStream>): Promise<void> {
  const { dlopen } = await import("bun:ffi");
  for (const libc of ["libc.so.6", "libc.so", "libSystem.dylib"]) {
    try {
      const { symbols } = dlopen(libc, { listen: { args: ["i32", "i32"], returns: "i32" } });
      symbols.listen((listener as TCPSocketListener<BunStream> & { fd: number }).fd, backlog);
      return;
    } catch {
      // Not this one's name here. Without any of them it stays at 512, which costs a burst some retransmissions.
    }
  }
}

const handlers = {
  data(socket: Socket<BunStream>, chunk: Buffer) {
    socket.data.user.onData(chunk);
  },
  drain(socket: Socket<BunStream>) {
    socket.data.flush();
  },
  end(socket: Socket<BunStream>) {
    socket.data.user.onEnd();
  },
  close(socket: Socket<BunStream>, error?: Error) {
    socket.data.closed(error ? failureOf(error) : null);
  },
  /** What a user of the stream threw: a defect. It costs this connection only, and does not stay hidden. */
  error(socket: Socket<BunStream>, error: Error) {
    socket.data.destroy();
    reportError(error);
  },
};

const connecting = {
  ...handlers,
  open(socket: Socket<BunStream>) {
    const stream = socket.data;
    if (!stream.opened(socket)) return;
    stream.user.onOpen();
    stream.flush();
  },
  /** The promise tells it, too. */
  connectError() {},
};

type Ending = "no" | "end" | "close";

class BunStream implements Stream {
  user: StreamUser;
  queued = 0;
  readonly peerDer = null;
  /** Null while connecting and after the end. */
  #socket: Socket<BunStream> | null = null;
  #gone = false;
  readonly #queue: Buffer[] = [];
  #ending: Ending = "no";

  constructor(user: StreamUser) {
    this.user = user;
  }

  get remoteAddress(): string {
    return this.#socket?.remoteAddress ?? "";
  }

  /** False when the user gave up while it was connecting. */
  opened(socket: Socket<BunStream>): boolean {
    if (this.#gone) {
      socket.terminate();
      return false;
    }
    this.#socket = socket;
    socket.setNoDelay(true);
    return true;
  }

  write(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#gone || this.#ending !== "no") return true;
    let from = start;
    if (this.queued === 0 && this.#socket) {
      const n = this.#socket.write(bytes, start, end - start);
      if (n === end - start) return true;
      // Negative: it is closing, and onClose is on its way.
      if (n > 0) from += n;
    }
    const rest = Buffer.from(bytes.subarray(from, end));
    this.#queue.push(rest);
    this.queued += rest.length;
    return false;
  }

  flush(): void {
    const socket = this.#socket;
    if (!socket) return;
    const hadQueue = this.queued > 0;
    while (this.queued > 0) {
      const first = this.#queue[0]!;
      const n = Math.max(0, socket.write(first));
      this.queued -= n;
      if (n < first.length) {
        this.#queue[0] = first.subarray(n);
        return;
      }
      this.#queue.shift();
    }
    if (this.#ending !== "no") this.#finish();
    else if (hadQueue) this.user.onDrain();
  }

  end(): void {
    if (this.#ending !== "no") return;
    this.#ending = "end";
    if (this.queued === 0) this.#finish();
  }

  close(): void {
    this.#ending = "close";
    if (this.queued === 0) this.#finish();
  }

  #finish(): void {
    if (this.#ending === "end") this.#socket?.shutdown();
    else if (this.#socket) this.#socket.end();
    else this.destroy();
  }

  destroy(): void {
    if (this.#socket) {
      this.#socket.terminate();
      return;
    }
    if (!this.#gone) queueMicrotask(() => this.closed(null));
    this.#gone = true;
  }

  keepAlive(ms: number): void {
    this.#socket?.setKeepAlive(true, ms);
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  closed(failure: StreamFailure | null): void {
    const user = this.user;
    this.#gone = true;
    this.#socket = null;
    this.queued = 0;
    this.#queue.length = 0;
    this.user = nobody;
    user.onClose(failure);
  }
}

function failureOf(error: Error): StreamFailure {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  return { code, message: error.message.split("\n", 1)[0]! };
}
