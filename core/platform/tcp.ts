/**
 * Byte streams for programs that count microseconds: TCP, Unix sockets, and TLS over TCP, behind one interface.
 *
 * A stream has one user at a time, to whom its events go; a pooled connection changes its user. Rules of both
 * sides:
 *   - write() borrows the bytes until it returns; what the kernel does not take at once is copied and queued.
 *     `false` means that something is queued: stop producing until onDrain. Nothing else bounds the queue.
 *   - The chunk that onData gets belongs to the user, who may keep or change it.
 *   - After onClose no event follows, and writes are dropped. onClose follows destroy(), too, perhaps before it
 *     returns.
 *
 * Bun has sockets of its own that cost less than node:net (bench/ingress.ts); TLS is node:tls in both runtimes.
 */
import { isBun } from "./runtime.ts";
import * as bun from "./bun/tcp.ts";
import * as deno from "./deno/tcp.ts";

export interface Stream {
  user: StreamUser;
  /** Bytes taken by write() that the kernel has not. */
  readonly queued: number;
  readonly remoteAddress: string;
  /** The DER of the certificate that a TLS peer has shown and `verify` has accepted; null without TLS. */
  readonly peerDer?: Uint8Array | null;
  write(bytes: Uint8Array, start: number, end: number): boolean;
  /** Sends what is queued, then FIN; reading goes on. */
  end(): void;
  /** Sends what is queued, then closes both directions. For connections on which nobody waits for anything. */
  close(): void;
  /** Closes at once, with RST where there is something to lose: the peer must not take it for a proper end. */
  destroy(): void;
  /** Asks the peer's kernel for a sign of life after `ms` of silence; for streams that may be silent for long. */
  keepAlive(ms: number): void;
  pause(): void;
  resume(): void;
}

export interface StreamUser {
  /** Connected, and for TLS the peer is verified. Streams of a listener are open from the start. */
  onOpen(): void;
  onData(chunk: Buffer): void;
  /** Everything queued is in the kernel. */
  onDrain(): void;
  /** The peer will send nothing more; it may still read. */
  onEnd(): void;
  /** `failure` in words and with its code, null when both directions ended properly. */
  onClose(failure: StreamFailure | null): void;
}

export interface StreamFailure {
  /** `ECONNREFUSED`, or empty. */
  code: string;
  message: string;
}

export interface Target {
  address: { host: string; port: number } | { socket: string };
  tls: TlsOptions | null;
}

export interface TlsOptions {
  certificate: string;
  key: string;
  /** The only authority that is trusted. */
  ca: string;
  /** Says in words what is wrong with a peer whose chain is good, or null. Gets the certificate's DER. */
  verify(peerDer: Uint8Array): string | null;
}

export interface StreamListener {
  /** 0 for a Unix socket. */
  readonly port: number;
  /** A new certificate, for streams from now on; only where it listens with TLS. */
  reload?(tls: TlsOptions): void;
  /** Accepts no more; streams that are open stay. */
  stop(): void;
}

/** Starts to connect; onOpen or onClose of the user tells the outcome, never before this returns. */
export function connect(target: Target, user: StreamUser): Stream {
  return (isBun ? bun : deno).connect(target, user);
}

/**
 * Opens a port, or a Unix socket, for this host process alone. Rejects with the system's error (`code` EADDRINUSE,
 * EACCES, …). `accept` names the user of each new stream, or null to refuse it. With `tls` every stream is one of
 * TLS 1.3 whose peer has a certificate of `tls.ca` that `tls.verify` accepts; others are never seen.
 */
export function listen(
  at: { host: string; port: number } | { socket: string },
  accept: (stream: Stream) => StreamUser | null,
  tls: TlsOptions | null = null,
): Promise<StreamListener> {
  return (isBun ? bun : deno).listen(at, accept, tls);
}
