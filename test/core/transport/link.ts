/** A mutual TLS server and clients of it, for tests, and a TCP proxy that misbehaves between them. */
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { DvsError } from "../../../core/errors.ts";
import { serveMutualTls } from "../../../core/transport/agent-server.ts";
import type { MutualTlsOptions } from "../../../core/transport/agent-server.ts";
import { createClient } from "../../../core/transport/client.ts";
import type { Client, ClientOptions } from "../../../core/transport/client.ts";
import { peerOf } from "../../../core/transport/peer.ts";
import type { Authority } from "../../../core/trust/authority.ts";
import { coordinatorUri, nodeUri } from "../../../core/trust/identity.ts";
import type { Identity } from "../../../core/trust/identity.ts";
import type { TlsIdentity } from "../../../core/transport/dial.ts";
import { authority, issued } from "../trust/lab.ts";

const host = "127.0.0.1";

export interface World {
  ca: Authority;
  coordinator: TlsIdentity;
  node: TlsIdentity;
  /** Every request that reached the handler. */
  seen: { path: string; identity: Identity }[];
  /** What the server reported as its own faults. */
  faults: unknown[];
  serve(options?: Partial<MutualTlsOptions>): Promise<{ address: string; server: Server }>;
  client(address: string | string[], options?: Partial<ClientOptions>): Client;
  /** Ends all that serve() and client() made. */
  end(): Promise<void>;
}

type Server = Awaited<ReturnType<typeof serveMutualTls>>;

/** A cluster `c1` with coordinator `k1` and node `n1`. */
export async function world(): Promise<World> {
  const ca = await authority();
  const coordinator = await issued(ca, coordinatorUri("c1", "k1"));
  const node = await issued(ca, nodeUri("c1", "n1"));
  const seen: World["seen"] = [];
  const faults: unknown[] = [];
  const ends: (() => void | Promise<void>)[] = [];
  return {
    ca,
    coordinator,
    node,
    seen,
    faults,
    async serve(options = {}) {
      const { fetch, ...rest } = options;
      const server = await serveMutualTls({
        host,
        port: 0,
        ...coordinator,
        ca: ca.certificate,
        check: peerOf(["node"], "c1"),
        onError: (e) => faults.push(e),
        fetch: (request, identity) => {
          seen.push({ path: new URL(request.url).pathname, identity });
          return fetch ? fetch(request, identity) : Response.json(identity);
        },
        ...rest,
      });
      ends.push(() => server.close());
      return { address: `${host}:${server.port}`, server };
    },
    client(address, options = {}) {
      const client = createClient({
        addresses: [address].flat(),
        trust: { ca: ca.certificate },
        identity: node,
        ...options,
      });
      ends.unshift(() => client.close());
      return client;
    },
    async end() {
      for (const end of ends) await end();
    },
  };
}

/** What a request failed with: `CODE: message`. Fails when it did not fail. */
export async function refusal(request: Promise<Response>): Promise<string> {
  let response: Response;
  try {
    response = await request;
  } catch (e) {
    return `${(e as DvsError).code}: ${(e as Error).message}`;
  }
  throw new Error(`answered with ${response.status}: ${await response.text()}`);
}

export interface Proxy {
  address: string;
  /** Connections so far. */
  count: number;
  /** Ends each pair of sockets, as `end` (FIN) or `destroy`. */
  cut(how: "end" | "destroy"): void;
  close(): Promise<void>;
}

/** Forwards connection k (from 1) to the port that `target` names. */
export async function proxy(target: (connection: number) => number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server = createServer((down) => {
    const up = connect(target(++result.count), host);
    for (const [one, other] of [
      [down, up],
      [up, down],
    ] as const) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const result: Proxy = {
    address: `${host}:${(server.address() as AddressInfo).port}`,
    count: 0,
    cut(how) {
      for (const socket of sockets) socket[how]();
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return result;
}

export function closed(socket: Socket): Promise<void> {
  socket.on("error", () => {});
  return socket.destroyed
    ? Promise.resolve()
    : new Promise((resolve) => socket.once("close", () => resolve()));
}

/** Waits until it is true; the test's own time limit ends it otherwise. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
