/**
 * How requests reach a member: by the runtime's own fetch, or by mutual TLS with an authority of one's own, for which
 * each runtime's fetch has another form; the client of core/transport is the same on both.
 */
import { DvsError } from "../../errors.ts";
import { createClient, type Client } from "../../transport/client.ts";
import type { TlsIdentity } from "../../transport/dial.ts";

export interface EtcdRequest {
  /** `http://host:port` or `https://host:port`. */
  endpoint: string;
  path: string;
  headers: Record<string, string>;
  json: string;
  /** Doing it twice is the same as once. */
  repeatable: boolean;
  signal: AbortSignal;
}

export interface EtcdTransport {
  /** Rejects when there is no answer; `isUnsent` says whether it was certainly not carried out. */
  send(request: EtcdRequest): Promise<Response>;
  close(): void;
}

export interface EtcdTls {
  /** PEM of the authority that signed the members' certificates. */
  ca: string;
  /** Shown to members that demand one; asked at each new connection. */
  identity?: () => TlsIdentity | undefined;
}

export const plainTransport: EtcdTransport = {
  send({ endpoint, path, headers, json, repeatable, signal }) {
    const url = `${endpoint}${path}`;
    if (repeatable) return fetch(url, { method: "POST", headers, body: json, signal });
    // Deno's fetch sends a request again by itself when a kept connection breaks under it; a body that can be read
    // only once keeps it from doing that.
    const once = new Blob([json]).stream();
    return fetch(url, { method: "POST", headers, body: once, signal, duplex: "half" } as RequestInit);
  },
  close() {},
};

const connectTimeoutMs = 1_000;
/** The caller's own signal ends requests. */
const headTimeoutMs = 2 ** 31 - 1;

export function tlsTransport({ ca, identity }: EtcdTls): EtcdTransport {
  const clients = new Map<string, Client>();
  const clientOf = (endpoint: string): Client => {
    const known = clients.get(endpoint);
    if (known) return known;
    const client = createClient({
      addresses: [new URL(endpoint).host],
      trust: { ca },
      ...(identity ? { identity } : {}),
      // etcd's certificates name hosts; only those that --ha makes carry a URI of ours.
      checkPeer: "host",
      connectTimeoutMs,
    });
    clients.set(endpoint, client);
    return client;
  };
  return {
    send: ({ endpoint, path, headers, json, repeatable, signal }) =>
      clientOf(endpoint).request({
        method: "POST",
        path,
        headers,
        body: json,
        idempotent: repeatable,
        timeoutMs: headTimeoutMs,
        signal,
      }),
    close() {
      for (const client of clients.values()) client.close();
    },
  };
}

/** True when it failed before it had a connection: by code in Bun and Node, by words in Deno, by ours over TLS. */
export function isUnsent(error: unknown): boolean {
  if (error instanceof DvsError) return error.code !== "OUTCOME_UNKNOWN" && error.code !== "TIMEOUT";
  for (let e = error; e instanceof Error; e = e.cause) {
    const code = (e as { code?: unknown }).code;
    if (code === "ECONNREFUSED" || code === "ConnectionRefused" || code === "ENOTFOUND") return true;
    if (/client error \(Connect\)/.test(e.message)) return true;
  }
  return false;
}
