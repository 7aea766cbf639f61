/**
 * HTTP over TLS 1.3 to the coordinators of one cluster: the agents' API with a certificate, the people's API with a
 * token. It goes by the cluster's authority and the coordinator's URI, never by the system's roots or host names.
 *
 * Idle connections are kept. When an address cannot be reached the next is tried; the one that answered last comes
 * first. A request is repeated only when that cannot do harm: nothing of it was sent, or it is idempotent with a
 * body that can be sent again. Requests in flight are not limited: whoever sends many bounds them.
 */
import { DvsError } from "../errors.ts";
import { Connection, ConnectionLost } from "./connection.ts";
import { dial, fetchPinned } from "./dial.ts";
import type { TlsIdentity } from "./dial.ts";
import { parseAddress } from "./address.ts";
import { peerOf } from "./peer.ts";
import type { PeerCheck } from "./peer.ts";
import type { Body, RequestParts } from "./request-body.ts";

export interface ClientOptions {
  /** `host:port` of each coordinator. */
  addresses: string[];
  /** The authority itself (PEM), or its SHA-256 from a token: then it is fetched and pinned first. */
  trust: { ca: string } | { pin: string };
  /** Asked at each new connection, so that a renewed certificate is used from then on. */
  identity?: TlsIdentity | (() => TlsIdentity | undefined);
  /** Who may answer; any coordinator of the authority's cluster when absent. `host`: see dial.ts. */
  checkPeer?: PeerCheck | "host";
  /** Sent with each request. */
  headers?: Record<string, string>;
  /** For TCP and TLS, per address. */
  connectTimeoutMs?: number;
}

export interface ClientRequest {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: Body;
  /** Ends the request, and the body of its answer. */
  signal?: AbortSignal;
  /** Until the head of the answer, over all attempts. Its body has no limit: watch it, and abort. */
  timeoutMs?: number;
  /** Called before the first byte of it is sent: what fails before was certainly not done. */
  onSending?: () => void;
  /** True when doing it twice is the same as once. By default, whether the method is GET, HEAD, PUT or DELETE. */
  idempotent?: boolean;
}

export interface Client {
  /**
   * Throws UNAVAILABLE (nobody was reached; nothing was done), UNAUTHENTICATED or FORBIDDEN (the server is not who
   * it must be; it refused our certificate), TIMEOUT, OUTCOME_UNKNOWN (sent, and no answer: it may have been done).
   * Statuses are not errors here. An answer that is cut short fails where its body is read.
   */
  request(request: ClientRequest): Promise<Response>;
  /** PEM of the cluster's authority: what a node that joined with a token keeps. */
  authority(): Promise<string>;
  /** Ends all connections; answers that are being read fail. */
  close(): void;
}

const connectTimeoutMs = 5_000;
/** Below every server's own limit (the runtimes close at 5 to 10 s), so that few connections are found stale. */
const idleMsMax = 4_000;
const headTimeoutMs = 30_000;

export function createClient(options: ClientOptions): Client {
  const { addresses, trust } = options;
  if (addresses.length === 0)
    throw new DvsError("INVALID", "Cannot connect: no coordinator's address is known.");
  addresses.forEach(parseAddress);
  const check = options.checkPeer ?? peerOf(["coordinator"]);
  const perAddressMs = options.connectTimeoutMs ?? connectTimeoutMs;
  const all = new Set<Connection>();
  let idle: Connection[] = [];
  let preferred = 0;
  let pinned = "ca" in trust ? trust.ca : null;
  let closed = false;

  /** The first address that works, beginning with the one that worked last. */
  async function anyAddress<T>(act: (address: string) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const failures: DvsError[] = [];
    const first = preferred;
    for (let i = 0; i < addresses.length; i++) {
      const at = (first + i) % addresses.length;
      try {
        const result = await act(addresses[at]!);
        preferred = at;
        return result;
      } catch (e) {
        if (signal?.aborted || !(e instanceof DvsError)) throw e;
        failures.push(e);
      }
    }
    if (failures.length === 1) throw failures[0]!;
    // One that may come back outweighs one that is wrong: trying again can help.
    const code = failures.find((e) => e.retry)?.code ?? failures[0]!.code;
    throw new DvsError(code, failures.map((e) => e.message).join("\n"), { cause: failures[0] });
  }

  async function authority(signal?: AbortSignal): Promise<string> {
    if (pinned === null && "pin" in trust) {
      const { pin } = trust;
      pinned = await anyAddress(
        (address) => fetchPinned({ address, pin, timeoutMs: perAddressMs, signal }),
        signal,
      );
    }
    return pinned!;
  }

  async function connect(signal?: AbortSignal): Promise<Connection> {
    const ca = await authority(signal);
    return anyAddress(async (address) => {
      const identity = typeof options.identity === "function" ? options.identity() : options.identity;
      const socket = await dial({ address, ca, identity, check, timeoutMs: perAddressMs, signal });
      const connection = new Connection(address, socket, (c) => {
        c.idleSinceMs = performance.now();
        idle.push(c);
      });
      socket.once("close", () => {
        all.delete(connection);
        idle = idle.filter((c) => c !== connection);
      });
      if (closed) connection.destroy();
      all.add(connection);
      return connection;
    }, signal);
  }

  function takeIdle(): Connection | undefined {
    for (;;) {
      const connection = idle.pop();
      if (!connection || (!connection.closed && performance.now() - connection.idleSinceMs < idleMsMax)) {
        return connection;
      }
      connection.destroy();
    }
  }

  async function request(of: ClientRequest): Promise<Response> {
    if (closed) throw new DvsError("UNAVAILABLE", "Cannot send a request: the client was closed.");
    const { method, path, body } = of;
    const idempotent = of.idempotent ?? ["GET", "HEAD", "PUT", "DELETE"].includes(method);
    const parts: RequestParts = {
      method,
      path,
      body,
      headers: new Headers({ ...options.headers, ...of.headers }),
    };
    const repeatable = idempotent && !(body instanceof ReadableStream);
    const timeoutMs = of.timeoutMs ?? headTimeoutMs;
    const timer = new AbortController();
    const timeout = setTimeout(() => timer.abort(), timeoutMs);
    const signal = of.signal ? AbortSignal.any([of.signal, timer.signal]) : timer.signal;
    const name = `${method} ${path}`;
    let sentTo: string | null = null;
    try {
      for (let attempt = 0; ; attempt++) {
        signal.throwIfAborted();
        const reused = attempt === 0 ? takeIdle() : undefined;
        sentTo = null;
        const connection = reused ?? (await connect(signal));
        sentTo = connection.address;
        of.onSending?.();
        try {
          return await connection.exchange(parts, {
            signal,
            bodyError: (e) => lost(name, connection.address, idempotent, e),
          });
        } catch (e) {
          if (signal.aborted || !(e instanceof ConnectionLost)) throw e;
          if (closed || e.alert || !repeatable || attempt >= addresses.length) {
            throw lost(name, connection.address, idempotent, e);
          }
          preferred = (addresses.indexOf(connection.address) + (reused ? 0 : 1)) % addresses.length;
        }
      }
    } catch (e) {
      if (of.signal?.aborted) throw of.signal.reason;
      if (!timer.signal.aborted) throw e;
      // Another coordinator may answer where this one hangs.
      preferred = (preferred + 1) % addresses.length;
      throw tooLate(name, addresses, sentTo, timeoutMs, !idempotent);
    } finally {
      clearTimeout(timeout);
    }
  }

  function close(): void {
    closed = true;
    for (const connection of all) connection.destroy(new Error("the client was closed"));
  }

  return { request, authority: () => authority(), close };
}

function lost(name: string, address: string, idempotent: boolean, e: unknown): unknown {
  if (!(e instanceof ConnectionLost)) return e;
  if (e.alert) {
    return new DvsError(
      "UNAUTHENTICATED",
      `${address} refused this side's certificate (${e.alert}): it is missing, expired, or of another cluster.`,
      { cause: e },
    );
  }
  const when = e.answered ? "in the middle of its answer" : "before it answered";
  if (idempotent) {
    return new DvsError("UNAVAILABLE", `${name}: ${address} closed the connection ${when}.`, { cause: e });
  }
  return new DvsError(
    "OUTCOME_UNKNOWN",
    `${name}: ${address} closed the connection ${when}; it may or may not have been done. Look before repeating it.`,
    { cause: e },
  );
}

function tooLate(
  name: string,
  addresses: string[],
  sentTo: string | null,
  timeoutMs: number,
  unknown: boolean,
): DvsError {
  const address = sentTo ?? addresses.join(", ");
  const text = `${name}: no answer from ${address} within ${timeoutMs} ms`;
  if (sentTo === null) return new DvsError("UNAVAILABLE", `${text}: not even a connection.`);
  if (!unknown) return new DvsError("TIMEOUT", `${text}.`);
  return new DvsError(
    "OUTCOME_UNKNOWN",
    `${text}; it may or may not have been done. Look before repeating it.`,
  );
}
